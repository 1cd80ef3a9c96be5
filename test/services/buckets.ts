import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'

export interface S3Access {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

/** Makes a bucket; the name has three characters or more. */
export async function createBucket(access: S3Access, name: string): Promise<void> {
  const { endpoint, region, accessKeyId, secretAccessKey } = access
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  try {
    await client.send(new CreateBucketCommand({ Bucket: name }))
  } finally {
    client.destroy()
  }
}
