/** Why a delivery was lost whose worker did nothing wrong: its connection to the queue broke. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
  constructor() {
    super('The connection to the queue was lost.')
  }
}
