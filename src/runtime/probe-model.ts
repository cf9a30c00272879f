// The smallest model: y [N] = x [N]. A session of it proves that a device is there before anything large is read.

/** The bytes that `encodeOnnx` gives for one Identity operator; the runtime knows no graphs. */
export const probeModel: Uint8Array = Buffer.from(
  'CAoSCGxvcmlrZWV0OksKHAoBeBIBeRoKSWRlbnRpdHlfMCIISWRlbnRpdHkSB2RlY29kZXJaEAoBeBILCgkIARIFCgMSAU5iEAoBeRILCgkIARIF' +
    'CgMSAU5CBAoAEBVCEQoNY29tLm1pY3Jvc29mdBAB',
  'base64',
);
