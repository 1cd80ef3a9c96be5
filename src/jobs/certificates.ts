/**
 * What a code of TLS says about the certificate of a server, as the sentence for startup; undefined for any other
 * code. Such a fault lasts until a person changes something.
 * Codes: https://nodejs.org/api/tls.html#x509-certificate-error-codes
 */
export function certificateFault(server: string, setting: string, code: string): string | undefined {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `The certificate of ${server} is for another name. Correct the host in ${setting}, or the certificate.`
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return `The certificate of ${server} is not valid now (${code}). Renew it, or correct the clock of this machine.`
  if (!/CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)/.test(code)) return undefined
  return `The certificate of ${server} is not trusted (${code}). Set NODE_EXTRA_CA_CERTS to a file of additional authorities.`
}
