/**
 * For the environment of every process that computes, before it loads ONNX Runtime: since 1.29 the library stores an
 * identifier of the device and sends what models and sessions are used to its maker unless this is set
 * (https://github.com/microsoft/onnxruntime/pull/27379). Nothing of a self-hosted service may leave it.
 */
export const noTelemetry = { ORT_DISABLE_TELEMETRY: '1' } as const
