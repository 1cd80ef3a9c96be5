/**
 * The quantile function of the beta distribution: the x for which the regularised incomplete beta function
 * I_x(a, b) is p, by bisection. I is evaluated as a continued fraction, https://dlmf.nist.gov/8.17.E22, by Lentz's
 * method. Relative error near 1e-14.
 * @param p 0 to 1
 */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0
  if (p >= 1) return 1
  let [low, high] = [0, 1]
  for (;;) {
    const middle = (low + high) / 2
    if (middle === low || middle === high) return middle
    if (regularisedBeta(middle, a, b) < p) low = middle
    else high = middle
  }
}

/** I_x(a, b) for 0 < x < 1. */
function regularisedBeta(x: number, a: number, b: number): number {
  // the fraction converges fast only below the mean
  if (x > (a + 1) / (a + b + 2)) return 1 - regularisedBeta(1 - x, b, a)
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b))
  return (front * betaFraction(x, a, b)) / a
}

const tiny = 1e-300
const converged = 1e-16
const mostTerms = 500

function betaFraction(x: number, a: number, b: number): number {
  let d = notZero(1 - ((a + b) * x) / (a + 1))
  let c = 1
  d = 1 / d
  let value = d
  for (let m = 1; m <= mostTerms; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    for (const term of [even, odd]) {
      d = 1 / notZero(1 + term * d)
      c = notZero(1 + term / c)
      value *= c * d
    }
    if (Math.abs(c * d - 1) < converged) break
  }
  return value
}

function notZero(value: number): number {
  return Math.abs(value) < tiny ? tiny : value
}

/** Stirling's series after shifting the argument above 10, https://dlmf.nist.gov/5.11.E1. */
function logGamma(z: number): number {
  let [moved, product] = [z, 1]
  for (; moved < 10; moved++) product *= moved
  const inverse = 1 / (moved * moved)
  const series =
    (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / moved
  return (moved - 0.5) * Math.log(moved) - moved + Math.log(2 * Math.PI) / 2 + series - Math.log(product)
}
