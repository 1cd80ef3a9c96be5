import { noTelemetry } from '../diffusion/runtime/telemetry.ts'

/**
 * What a worker process is given of the environment: its settings, the paths of the system, and what tunes Node, the
 * engine's libraries and drivers. Native code runs in that process on files from elsewhere, so whatever else the
 * environment has (passwords of other programs, the key that signs job ids) stays out.
 */
const needed = new RegExp(
  `^(${[
    'PACKSHOT_\\w+',
    // paths, user and language
    'PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|TMPDIR|TEMP|TMP|TZ|TZDIR|TERM|LANG|LANGUAGE|LC_\\w+|XDG_\\w+',
    'SystemRoot|windir|ComSpec|PATHEXT|APPDATA|LOCALAPPDATA|ProgramData|USERPROFILE',
    // Node, the C library and the network
    'NODE_\\w+|UV_\\w+|LD_\\w+|DYLD_\\w+|GLIBC_TUNABLES|MALLOC_\\w+|SSL_CERT_(FILE|DIR)|OPENSSL_CONF',
    '(HTTP|HTTPS|ALL|NO)_PROXY',
    // computing: ONNX Runtime, threads, GPU drivers, libvips
    'ORT_\\w+|ONNX\\w+|OMP_\\w+|KMP_\\w+|MKL_\\w+|VIPS_\\w+|DAWN_\\w+|TINT_\\w+',
    'CUDA\\w*|CUDNN\\w*|NV\\w+|__NV_\\w+|__GL\\w+|VK_\\w+|MESA_\\w+|LIBGL_\\w+|EGL_\\w+|GALLIUM_\\w+|LP_\\w+|DRI_PRIME|RADV_\\w+|AMD_\\w+|ROCR_\\w+|ROCM_\\w+|HIP_\\w+|HSA_\\w+|ZE_\\w+|DISPLAY|WAYLAND_DISPLAY',
    // how the storage is reached
    'AWS_\\w+',
  ].join('|')})$`,
  'i',
)
const secret = /^PACKSHOT_SECRET$|^(?!AWS_).*(SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|AUTH)/i

/** @param alsoNeeds names beyond these, for a stand-in of the engine */
export function workerEnvironment(env: NodeJS.ProcessEnv, alsoNeeds?: RegExp): NodeJS.ProcessEnv {
  const usesStorage = (env.PACKSHOT_STORAGE_URL ?? '') !== ''
  const passes = (name: string) =>
    alsoNeeds?.test(name) === true ||
    (needed.test(name) && !secret.test(name) && (usesStorage || !name.startsWith('AWS_')))
  return { ...Object.fromEntries(Object.entries(env).filter(([name]) => passes(name))), ...noTelemetry }
}
