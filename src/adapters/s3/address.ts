import { AppError } from '../../jobs/errors.ts'

/** Where results are stored, as configured. */
export interface PlaceOptions {
  /** `s3://bucket` or `s3://bucket/some/prefix` */
  readonly url: string
  /** The storage's URL as seen from here; absent means Amazon's own, by region. */
  readonly endpoint?: string | undefined
  /** The URL at which clients reach it; absent if they do not. */
  readonly publicEndpoint?: string | undefined
}

export interface Place {
  readonly bucket: string
  /** Empty, or ends with a slash. */
  readonly prefix: string
  readonly endpoint: string | undefined
  readonly publicEndpoint: string | undefined
  /** For messages: host and port, never a path, a user or a password. */
  readonly where: string
}

const bucketName = /^(?=.{3,63}$)[a-z0-9]+(?:[.-]+[a-z0-9]+)*$/
const prefixPart = /^(?!\.{1,2}$)[A-Za-z0-9._=-]+$/
const longestPrefix = 200

/** Throws an `AppError` that names the invalid variable; a value that may hold a password is not repeated. */
export function placeOf(options: PlaceOptions): Place {
  const [bucket, prefix] = bucketOf(options.url)
  const endpoint = addressOf(options.endpoint, 'PACKSHOT_S3_ENDPOINT')
  const publicEndpoint = addressOf(options.publicEndpoint, 'PACKSHOT_S3_PUBLIC_ENDPOINT')
  return {
    bucket,
    prefix,
    endpoint: endpoint?.href,
    publicEndpoint: publicEndpoint?.href,
    where: endpoint?.host ?? 'Amazon S3',
  }
}

function bucketOf(url: string): [bucket: string, prefix: string] {
  const fault = (message: string) =>
    new AppError('unavailable', `PACKSHOT_STORAGE_URL ${message}`, { param: 'PACKSHOT_STORAGE_URL' })
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(url)
  if (match === null || url.includes('@')) {
    throw fault(
      'must look like s3://bucket or s3://bucket/prefix; keys and endpoint have their own variables.',
    )
  }
  const [, bucket = '', rest = ''] = match
  if (!bucketName.test(bucket) || bucket.includes('..')) {
    // with other characters it may be a key that was put into the URL
    const name = /^[\w.-]*$/.test(bucket) ? ` "${bucket}"` : ''
    throw fault(
      `names an invalid bucket${name}: a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit.`,
    )
  }
  const path = rest.replace(/\/$/, '')
  if (path === '') return [bucket, '']
  if (path.length > longestPrefix || !path.split('/').every((part) => prefixPart.test(part))) {
    throw fault(
      `has an invalid prefix: it may have letters, digits and . _ = - between slashes, at most ${longestPrefix} characters.`,
    )
  }
  return [bucket, `${path}/`]
}

function addressOf(text: string | undefined, param: string): URL | undefined {
  if (text === undefined) return undefined
  const url = URL.canParse(text) ? new URL(text) : undefined
  const http = url?.protocol === 'http:' || url?.protocol === 'https:'
  const bare = url?.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (url === undefined || !http || !bare) {
    throw new AppError(
      'unavailable',
      `${param} must be the http:// or https:// address of an S3 service, without user, password or query.`,
      { param },
    )
  }
  return url
}
