// The smallest model: y [N] = x [N]. A session of it proves that a device is there before anything large is read.

/** What `encodeOnnx` makes of one Identity operator; the runtime knows no graphs, so it is held as bytes. */
export const probeModel: Uint8Array = Buffer.from(
  'CAoSCGxvcmlrZWV0OksKHAoBeBIBeRoKSWRlbnRpdHlfMCIISWRlbnRpdHkSB2RlY29kZXJaEAoBeBILCgkIARIFCgMSAU5iEAoBeRILCgkIARIF' +
    'CgMSAU5CBAoAEBVCEQoNY29tLm1pY3Jvc29mdBAB',
  'base64',
);
