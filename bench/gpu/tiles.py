"""Weights as the kernels of native/cuda/quantized-linear.cu read them, and how their launches are cut (native/
quantized_linear_cuts.h). Needs numpy alone."""

import numpy

TILE, WARPS, SUM_BYTES = 32, 8, 16 * 32 * 4


def pack(codes, scales, minimums, bits):
    """Tiles of codes [n, k] (n and k multiples of 32), scales [n, k / 32] and minimums of that shape, or None: uint8."""
    n, k = codes.shape
    tiles, blocks = n // TILE, k // TILE
    # Output 8 (g / 2) + 2 j + g % 2 is column g of the j-th product; a thread's eight inputs are neighbours.
    order = [[8 * (g // 2) + 2 * j + g % 2 for j in range(4)] for g in range(8)]
    shares = codes.reshape(tiles, TILE, blocks, 4, 8)[:, order].transpose(0, 3, 1, 4, 2, 5)  # tile, block, g, q, j, input
    if bits == 4:
        nibbles = shares[..., [0, 2, 4, 6, 1, 3, 5, 7]]
        packed = nibbles[..., 0::2] | nibbles[..., 1::2] << 4
    else:
        packed = shares.reshape(tiles, blocks, 8, 4, 2, 16).transpose(0, 1, 4, 2, 3, 5)
    parts = [packed.astype(numpy.uint8).reshape(tiles, blocks, -1)]
    for halves in [scales] + ([] if minimums is None else [minimums]):
        by_tile = numpy.ascontiguousarray(halves.astype(numpy.float16).reshape(tiles, TILE, blocks).transpose(0, 2, 1))
        parts.append(by_tile.view(numpy.uint8).reshape(tiles, blocks, -1))
    return numpy.ascontiguousarray(numpy.concatenate(parts, axis=-1)).reshape(-1)


def values_of(codes, scales, minimums, bits):
    """What they stand for, float64 [n, k]. At 4 bits a minimum is what code 0 is worth."""
    scales = scales.astype(numpy.float16).astype(numpy.float64)
    offset = 0 if minimums is None else minimums.astype(numpy.float16).astype(numpy.float64) + (8 * scales if bits == 4 else 0)
    wide = lambda each: numpy.repeat(each, TILE, axis=1)
    zero = 8 if bits == 4 else 128
    return wide(scales) * (codes.astype(numpy.float64) - zero) + (0 if minimums is None else wide(offset))


def cut(rows, n, k):
    """{row_tiles, parts, columns, turns, splits, blocks, shared, partials (bytes), counters}"""
    up = lambda a, b: -(-a // b)
    tiles, parts = up(n, TILE), 2
    while parts < 8 and tiles * parts < 1024 and k // TILE >= 8 * parts:
        parts *= 2
    row_tiles = 1 if rows <= 16 else 2 if rows <= 32 else 4
    if row_tiles == 1:
        columns = WARPS // parts
        return dict(row_tiles=1, parts=parts, columns=columns, turns=1, splits=1, blocks=up(tiles, columns),
                    shared=WARPS * SUM_BYTES, partials=0, counters=0)
    columns, shared, pairs = WARPS // 2, WARPS * SUM_BYTES * row_tiles // 2, parts // 2
    blocks = up(tiles, columns) * up(rows, 16 * row_tiles)
    partials = blocks * pairs * shared
    common = dict(row_tiles=row_tiles, parts=parts, columns=columns, shared=shared)
    if pairs == 1 or blocks >= 128 or partials > 16 << 20:
        return dict(common, turns=pairs, splits=1, blocks=blocks, partials=0, counters=0)
    return dict(common, turns=1, splits=pairs, blocks=blocks * pairs, partials=partials, counters=blocks)
