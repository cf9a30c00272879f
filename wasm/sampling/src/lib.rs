//! Choosing a token out of a row of logits, four logits at a time. The row lies in this module's memory, at `reserve`;
//! every function works on the row that lies there now. One thread calls.

use core::arch::wasm32::*;
use core::cmp::Ordering;

/// Logits of one block, whose weights are summed together: a draw finds the block first, and then the token.
const BLOCK: usize = 1024;

/// Weights are at most 1, whose bits begin with 0x3f8.
const BUCKETS: usize = 0x3f8 + 1;

/// Of the best token's weight: weights below 2^-126 are rounded up to it, and nothing that is drawn may show that.
const LEAST: f64 = 1e-20;

/// More candidates than these are not gathered only to see whether they suffice.
const FEW: usize = 1024;

#[derive(Clone, Copy)]
struct Candidate {
    logit: f32,
    weight: f64,
    token: u32,
}

struct State {
    /// Filled up to a multiple of four with -infinity, which weighs nothing.
    row: Vec<f32>,
    vocabulary: usize,
    best: f32,
    best_token: i32,
    /// Of the row at the sharpness that was asked for last, and their sums by block.
    weights: Vec<f32>,
    sums: Vec<f64>,
    buckets: Vec<f64>,
    candidates: Vec<Candidate>,
    tokens: Vec<u32>,
    /// The last one.
    drawn: i32,
}

static mut STATE: State = State {
    row: Vec::new(),
    vocabulary: 0,
    best: f32::NEG_INFINITY,
    best_token: 0,
    weights: Vec::new(),
    sums: Vec::new(),
    buckets: Vec::new(),
    candidates: Vec::new(),
    tokens: Vec::new(),
    drawn: -1,
};

#[allow(static_mut_refs)]
fn state() -> &'static mut State {
    unsafe { &mut STATE }
}

/// Where a row of `vocabulary` logits is to be written.
#[no_mangle]
pub extern "C" fn reserve(vocabulary: usize) -> *mut f32 {
    let state = state();
    if state.vocabulary != vocabulary {
        state.vocabulary = vocabulary;
        state.row = vec![f32::NEG_INFINITY; vocabulary.next_multiple_of(4)];
        state.weights = vec![0.0; vocabulary.next_multiple_of(4)];
        state.sums = vec![0.0; vocabulary.div_ceil(BLOCK)];
    }
    state.row.as_mut_ptr()
}

fn four(row: &[f32], at: usize) -> v128 {
    unsafe { v128_load(row.as_ptr().add(at) as *const v128) }
}

fn largest(row: &[f32]) -> f32 {
    let mut four_best = f32x4_splat(f32::NEG_INFINITY);
    for at in (0..row.len()).step_by(4) {
        // NaN stays.
        four_best = f32x4_max(four_best, four(row, at));
    }
    let lanes = [
        f32x4_extract_lane::<0>(four_best),
        f32x4_extract_lane::<1>(four_best),
        f32x4_extract_lane::<2>(four_best),
        f32x4_extract_lane::<3>(four_best),
    ];
    let any_nan = lanes.iter().any(|lane| lane.is_nan());
    if any_nan {
        f32::NAN
    } else {
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// The first of the largest logits; -1 where one is no number, or the largest is not finite. Before all below.
#[no_mangle]
pub extern "C" fn argmax() -> i32 {
    let state = state();
    let best = largest(&state.row);
    if !best.is_finite() {
        return -1;
    }
    state.best = best;
    let wanted = f32x4_splat(best);
    for at in (0..state.row.len()).step_by(4) {
        let hits = i32x4_bitmask(f32x4_eq(four(&state.row, at), wanted));
        if hits != 0 {
            state.best_token = (at + hits.trailing_zeros() as usize) as i32;
            return state.best_token;
        }
    }
    -1
}

/// 2 to the power of values in [-126, 0]: a polynomial of degree 6, to the last bits of a 32-bit float.
fn exp2(t: v128) -> v128 {
    // Adding this leaves the nearest whole number in the last bits.
    let rounder = f32x4_splat(12_582_912.0);
    let rounded = f32x4_add(t, rounder);
    let f = f32x4_sub(t, f32x4_sub(rounded, rounder));
    let mut p = f32x4_splat(1.540_353e-4);
    for c in [
        1.333_355_8e-3,
        9.618_129e-3,
        5.550_411e-2,
        2.402_265e-1,
        6.931_472e-1,
        1.0,
    ] {
        p = f32x4_add(f32x4_mul(p, f), f32x4_splat(c));
    }
    i32x4_add(p, i32x4_shl(rounded, 23))
}

/// Writes e to the power of (logit - best) * sharpness for each token; a weight below 2^-126 becomes that. Returns their
/// sum.
fn weigh(sharpness: f32) -> f64 {
    let State {
        row,
        best,
        weights,
        sums,
        ..
    } = state();
    let best = f32x4_splat(*best);
    let factor = f32x4_splat(sharpness * core::f32::consts::LOG2_E);
    let least = f32x4_splat(-126.0);
    let blocks = row.chunks(BLOCK).zip(weights.chunks_mut(BLOCK));
    for ((logits, into), sum) in blocks.zip(sums.iter_mut()) {
        let mut total = f64x2_splat(0.0);
        // Sixteen additions in 32 bits lose less than a weight's own rounding.
        for (few, into) in logits.chunks(64).zip(into.chunks_mut(64)) {
            let mut part = f32x4_splat(0.0);
            for at in (0..few.len()).step_by(4) {
                let t = f32x4_max(f32x4_mul(f32x4_sub(four(few, at), best), factor), least);
                let weight = exp2(t);
                unsafe { v128_store(into.as_mut_ptr().add(at) as *mut v128, weight) };
                part = f32x4_add(part, weight);
            }
            let upper = i64x2_shuffle::<1, 1>(part, part);
            total = f64x2_add(
                total,
                f64x2_add(f64x2_promote_low_f32x4(part), f64x2_promote_low_f32x4(upper)),
            );
        }
        *sum = f64x2_extract_lane::<0>(total) + f64x2_extract_lane::<1>(total);
    }
    sums.iter().sum()
}

/// The sum over all tokens of e to the power of (logit - best) * sharpness.
#[no_mangle]
pub extern "C" fn mass(sharpness: f32) -> f64 {
    weigh(sharpness)
}

/// The token at `position` in [0, 1) along all tokens' weights, in the order of their ids.
#[no_mangle]
pub extern "C" fn draw(sharpness: f32, position: f64) -> i32 {
    let all = weigh(sharpness);
    let token = at(position * all);
    state().drawn = token;
    token
}

/// The same along the weights of what was not drawn since `draw`; -1 where too little is left to tell its parts apart.
#[no_mangle]
pub extern "C" fn draw_next(position: f64) -> i32 {
    let State {
        row,
        weights,
        sums,
        drawn,
        ..
    } = state();
    let token = *drawn as usize;
    row[token] = f32::NEG_INFINITY;
    weights[token] = 0.0;
    // What is left may be far less than what was taken: a difference would be all rounding.
    let start = token / BLOCK * BLOCK;
    let end = weights.len().min(start + BLOCK);
    sums[token / BLOCK] = weights[start..end].iter().map(|&weight| weight as f64).sum();
    let rest: f64 = sums.iter().sum();
    *drawn = if rest < LEAST { -1 } else { at(position * rest) };
    *drawn
}

/// The token where the cumulated weights exceed `rest`.
fn at(mut rest: f64) -> i32 {
    let State {
        row,
        weights,
        sums,
        best_token,
        ..
    } = state();
    let mut block = 0;
    while block + 1 < sums.len() && rest >= sums[block] {
        rest -= sums[block];
        block += 1;
    }
    let start = block * BLOCK;
    // Where a rounding leads beyond the last token, or to one that is forbidden.
    let mut last = if row[*best_token as usize] == f32::NEG_INFINITY { -1 } else { *best_token };
    for token in start..row.len().min(start + BLOCK) {
        if row[token] == f32::NEG_INFINITY {
            continue;
        }
        last = token as i32;
        rest -= weights[token] as f64;
        if rest < 0.0 {
            break;
        }
    }
    last
}

/// Best first; of equals the one with the lower id.
fn by_logit(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Tokens at most `nats` below the best, after division by the temperature. False where they are more than `most`.
fn gather(nats: f64, temperature: f64, most: usize) -> bool {
    let State {
        row,
        vocabulary,
        best,
        candidates,
        ..
    } = state();
    candidates.clear();
    let floor = (*best as f64 - nats * temperature) as f32;
    let floors = f32x4_splat(floor);
    for at in (0..row.len()).step_by(4) {
        let mut hits = i32x4_bitmask(f32x4_ge(four(row, at), floors));
        while hits != 0 {
            let token = at + hits.trailing_zeros() as usize;
            hits &= hits - 1;
            if token >= *vocabulary {
                continue;
            }
            let weight = ((row[token] as f64 - *best as f64) / temperature).exp();
            // What weighs nothing can never be drawn, however sums are rounded.
            if weight > 0.0 {
                candidates.push(Candidate {
                    logit: row[token],
                    weight,
                    token: token as u32,
                });
            }
        }
        if candidates.len() > most {
            return false;
        }
    }
    true
}

/// A weight's bucket: its exponent and three bits behind it, the heaviest first.
fn bucket_of(weight: f32) -> usize {
    (BUCKETS - 1).saturating_sub((weight.to_bits() >> 20) as usize)
}

/// The bucket where the cumulated sums reach `target` (exceed it, if `strict`), and what lies before it.
fn find_bucket(target: f64, strict: bool) -> (usize, f64) {
    let buckets = &state().buckets;
    let (mut before, mut found) = (0.0, (0, 0.0));
    for (bucket, &sum) in buckets.iter().enumerate() {
        if sum == 0.0 {
            continue;
        }
        found = (bucket, before);
        let reached = before + sum;
        if if strict { reached > target } else { reached >= target } {
            break;
        }
        before = reached;
    }
    found
}

/// The tokens of one bucket.
fn gather_bucket(bucket: usize) {
    let State {
        row,
        vocabulary,
        weights,
        candidates,
        ..
    } = state();
    candidates.clear();
    let wanted = i32x4_splat((BUCKETS - 1 - bucket) as i32);
    for at in (0..weights.len()).step_by(4) {
        let mut hits = i32x4_bitmask(i32x4_eq(u32x4_shr(four(weights, at), 20), wanted));
        while hits != 0 {
            let token = at + hits.trailing_zeros() as usize;
            hits &= hits - 1;
            if token < *vocabulary && row[token] > f32::NEG_INFINITY {
                candidates.push(Candidate {
                    logit: row[token],
                    weight: weights[token] as f64,
                    token: token as u32,
                });
            }
        }
    }
}

/// The token at `position` along the least set of tokens that weighs `top_p` of `all`, best first, where that set is
/// large: weights are summed by bucket, and only the buckets that decide are looked into.
fn draw_wide(top_p: f64, all: f64, position: f64) -> i32 {
    let State {
        row,
        vocabulary,
        weights,
        buckets,
        ..
    } = state();
    buckets.clear();
    buckets.resize(BUCKETS, 0.0);
    for (&weight, &logit) in weights[..*vocabulary].iter().zip(row.iter()) {
        if logit > f32::NEG_INFINITY {
            buckets[bucket_of(weight)] += weight as f64;
        }
    }
    let (edge, before) = find_bucket(top_p * all, false);
    gather_bucket(edge);
    let candidates = &mut state().candidates;
    let kept = lead(candidates, top_p * all - before, false);
    candidates.truncate(kept);
    let target = position * (before + sum(candidates));
    let (bucket, before) = find_bucket(target, true);
    // Sums in another order may round to a place behind the edge.
    if bucket < edge {
        gather_bucket(bucket);
    }
    let candidates = &mut state().candidates;
    let place = lead(candidates, target - before, true) - 1;
    candidates[place].token as i32
}

fn sum(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| candidate.weight).sum()
}

/// Puts the shortest best-first beginning that weighs at least `target` (more than it, if `strict`) in front, in no
/// order but that its last one is the least. Returns its length, which is all where all weigh less. Linear time.
fn lead(candidates: &mut [Candidate], target: f64, strict: bool) -> usize {
    let (mut low, mut high, mut before) = (0, candidates.len(), 0.0);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        candidates[low..high].select_nth_unstable_by(middle - low, by_logit);
        let reached = before + sum(&candidates[low..middle]);
        let is_enough = if strict { reached > target } else { reached >= target };
        if is_enough {
            high = middle;
        } else {
            before = reached;
            low = middle;
        }
    }
    low + 1
}

/// So many are kept in order while they are looked for.
const BEST_AT_ONCE: usize = 16;

const WIDTHS: [f64; 5] = [3.0, 6.0, 10.0, 16.0, f64::INFINITY];

/// The token at `position` in [0, 1) along the weights that min-p, top-k and top-p leave, best first. Filters are off
/// where min_p is 0, top_k 0 and top_p 1.
#[no_mangle]
pub extern "C" fn draw_filtered(temperature: f64, top_k: usize, top_p: f64, min_p: f64, position: f64) -> i32 {
    let mut all = 0.0;
    if min_p > 0.0 {
        // A little wider, for the floor is rounded; the weight itself decides.
        gather(-min_p.ln() + 1e-3, temperature, usize::MAX);
        state().candidates.retain(|candidate| candidate.weight >= min_p);
    } else if top_k > 0 {
        for nats in WIDTHS {
            gather(nats, temperature, usize::MAX);
            if state().candidates.len() >= top_k {
                break;
            }
        }
    } else {
        all = weigh((1.0 / temperature).min(1e30) as f32);
        let is_narrow = [2.0, 4.0, 6.0].into_iter().find_map(|nats| {
            let all_there = gather(nats, temperature, FEW);
            if all_there && sum(&state().candidates) < top_p * all {
                return None;
            }
            Some(all_there)
        });
        if is_narrow != Some(true) {
            return draw_wide(top_p, all, position);
        }
    }
    let candidates = &mut state().candidates;
    let mut kept = candidates.len();
    if top_k > 0 && top_k < kept {
        candidates.select_nth_unstable_by(top_k - 1, by_logit);
        kept = top_k;
    }
    if all == 0.0 {
        all = sum(&candidates[..kept]);
    }
    if top_p < 1.0 {
        kept = lead(&mut candidates[..kept], top_p * all, false);
    }
    let nucleus = &mut candidates[..kept];
    let target = position * sum(nucleus);
    let place = lead(nucleus, target, true) - 1;
    nucleus[place].token as i32
}

/// How many tokens `best` found last.
#[no_mangle]
pub extern "C" fn best_count() -> usize {
    state().tokens.len()
}

/// Where the ids of the `count` best tokens lie, best first; fewer where the others weigh nothing.
#[no_mangle]
pub extern "C" fn best(count: usize) -> *const u32 {
    if count <= BEST_AT_ONCE {
        scan_best(count);
    } else {
        for nats in WIDTHS {
            gather(nats, 1.0, usize::MAX);
            if state().candidates.len() >= count {
                break;
            }
        }
    }
    let State { candidates, tokens, .. } = state();
    let count = count.min(candidates.len());
    if count > 0 {
        candidates.select_nth_unstable_by(count - 1, by_logit);
    }
    candidates[..count].sort_unstable_by(by_logit);
    tokens.clear();
    tokens.extend(candidates[..count].iter().map(|candidate| candidate.token));
    tokens.as_ptr()
}

/// The `count` best, in one pass: few tokens are better than the least of them for long.
fn scan_best(count: usize) {
    let State {
        row,
        vocabulary,
        best,
        candidates,
        ..
    } = state();
    candidates.clear();
    if count == 0 {
        return;
    }
    let mut floor = f32::NEG_INFINITY;
    for at in (0..row.len()).step_by(4) {
        let mut hits = i32x4_bitmask(f32x4_gt(four(row, at), f32x4_splat(floor)));
        while hits != 0 {
            let token = at + hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let logit = row[token];
            let weight = (logit as f64 - *best as f64).exp();
            if token >= *vocabulary || logit <= floor || weight == 0.0 {
                continue;
            }
            let is_better = |candidate: &Candidate| candidate.logit >= logit;
            let place = candidates.iter().rposition(is_better).map_or(0, |place| place + 1);
            let candidate = Candidate {
                logit,
                weight,
                token: token as u32,
            };
            candidates.insert(place, candidate);
            candidates.truncate(count);
            if candidates.len() == count {
                floor = candidates.last().map_or(floor, |candidate| candidate.logit);
            }
        }
    }
}
