//! Choosing a token out of a row of logits, four logits at a time. The row lies in this module's memory, at `reserve`;
//! every function works on the row that lies there now. One thread calls.

use core::arch::wasm32::*;
use core::cmp::Ordering;

/// Logits of one block, whose weights are summed together: a draw finds the block first, and then the token.
const BLOCK: usize = 1024;

#[derive(Clone, Copy)]
struct Candidate {
    weight: f64,
    token: u32,
}

struct State {
    /// Filled up to a multiple of four with -infinity, which weighs nothing.
    row: Vec<f32>,
    vocabulary: usize,
    best: f32,
    sums: Vec<f64>,
    candidates: Vec<Candidate>,
    tokens: Vec<u32>,
}

static mut STATE: State = State {
    row: Vec::new(),
    vocabulary: 0,
    best: f32::NEG_INFINITY,
    sums: Vec::new(),
    candidates: Vec::new(),
    tokens: Vec::new(),
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
            return (at + hits.trailing_zeros() as usize) as i32;
        }
    }
    -1
}

/// e to the power of values that are at most 0: a polynomial of degree 6, to the last bits of a 32-bit float.
fn exp4(x: v128) -> v128 {
    let x = f32x4_max(x, f32x4_splat(-104.0));
    let n = f32x4_nearest(f32x4_mul(x, f32x4_splat(core::f32::consts::LOG2_E)));
    let r = f32x4_sub(x, f32x4_mul(n, f32x4_splat(0.693_359_4)));
    let r = f32x4_sub(r, f32x4_mul(n, f32x4_splat(-2.121_944_4e-4)));
    let mut p = f32x4_splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = f32x4_add(f32x4_mul(p, r), f32x4_splat(c));
    }
    p = f32x4_add(f32x4_add(f32x4_mul(p, f32x4_mul(r, r)), r), f32x4_splat(1.0));
    // 2^n in two halves, so that small powers become small floats and not garbage.
    let whole = i32x4_trunc_sat_f32x4(n);
    let half = i32x4_shr(whole, 1);
    let bias = i32x4_splat(127);
    let one = i32x4_shl(i32x4_add(half, bias), 23);
    let other = i32x4_shl(i32x4_add(i32x4_sub(whole, half), bias), 23);
    f32x4_mul(f32x4_mul(p, one), other)
}

fn weigh4(row: &[f32], at: usize, best: v128, sharpness: v128) -> v128 {
    exp4(f32x4_mul(f32x4_sub(four(row, at), best), sharpness))
}

fn sum_block(row: &[f32], best: f32, sharpness: f32, start: usize) -> f64 {
    let (best, sharpness) = (f32x4_splat(best), f32x4_splat(sharpness));
    let mut sums = f64x2_splat(0.0);
    for at in (start..row.len().min(start + BLOCK)).step_by(4) {
        let weights = weigh4(row, at, best, sharpness);
        let upper = i64x2_shuffle::<1, 1>(weights, weights);
        sums = f64x2_add(sums, f64x2_add(f64x2_promote_low_f32x4(weights), f64x2_promote_low_f32x4(upper)));
    }
    f64x2_extract_lane::<0>(sums) + f64x2_extract_lane::<1>(sums)
}

/// The sum over all tokens of e to the power of (logit - best) * sharpness.
#[no_mangle]
pub extern "C" fn mass(sharpness: f32) -> f64 {
    let State { row, best, sums, .. } = state();
    for (block, sum) in sums.iter_mut().enumerate() {
        *sum = sum_block(row, *best, sharpness, block * BLOCK);
    }
    sums.iter().sum()
}

/// The token at `position` in [0, 1) along all tokens' weights, in the order of their ids.
#[no_mangle]
pub extern "C" fn draw(sharpness: f32, position: f64) -> i32 {
    let mut rest = position * mass(sharpness);
    let State { row, best, sums, .. } = state();
    let mut block = 0;
    while block + 1 < sums.len() && rest >= sums[block] {
        rest -= sums[block];
        block += 1;
    }
    // A rounding may lead beyond the last block that weighs anything.
    while block > 0 && sums[block] == 0.0 {
        block -= 1;
    }
    let start = block * BLOCK;
    let (best, sharpness) = (f32x4_splat(*best), f32x4_splat(sharpness));
    let mut last = start;
    for at in (start..row.len().min(start + BLOCK)).step_by(4) {
        let weights = weigh4(row, at, best, sharpness);
        let lanes: [f32; 4] = unsafe { core::mem::transmute(weights) };
        for (lane, &weight) in lanes.iter().enumerate() {
            if weight <= 0.0 {
                continue;
            }
            last = at + lane;
            rest -= weight as f64;
            if rest < 0.0 {
                return last as i32;
            }
        }
    }
    last as i32
}

/// Best first; of equals the one with the lower id.
fn by_weight(a: &Candidate, b: &Candidate) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token))
}

/// Tokens at most `nats` below the best, after division by the temperature.
fn gather(nats: f64, temperature: f64) {
    let State { row, vocabulary, best, candidates, .. } = state();
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
                candidates.push(Candidate { weight, token: token as u32 });
            }
        }
    }
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
        candidates[low..high].select_nth_unstable_by(middle - low, by_weight);
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

const WIDTHS: [f64; 5] = [3.0, 6.0, 10.0, 16.0, f64::INFINITY];

/// The token at `position` in [0, 1) along the weights that min-p, top-k and top-p leave, best first. Filters are off
/// where min_p is 0, top_k 0 and top_p 1.
#[no_mangle]
pub extern "C" fn draw_filtered(temperature: f64, top_k: usize, top_p: f64, min_p: f64, position: f64) -> i32 {
    let mut all = 0.0;
    if min_p > 0.0 {
        // A little wider, for the floor is rounded; the weight itself decides.
        gather(-min_p.ln() + 1e-3, temperature);
        state().candidates.retain(|candidate| candidate.weight >= min_p);
    } else if top_k > 0 {
        for nats in WIDTHS {
            gather(nats, temperature);
            if state().candidates.len() >= top_k {
                break;
            }
        }
    } else {
        all = mass((1.0 / temperature) as f32);
        for nats in WIDTHS {
            gather(nats, temperature);
            if sum(&state().candidates) >= top_p * all {
                break;
            }
        }
    }
    let candidates = &mut state().candidates;
    let mut kept = candidates.len();
    if top_k > 0 && top_k < kept {
        candidates.select_nth_unstable_by(top_k - 1, by_weight);
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
    for nats in WIDTHS {
        gather(nats, 1.0);
        if state().candidates.len() >= count {
            break;
        }
    }
    let State { candidates, tokens, .. } = state();
    let count = count.min(candidates.len());
    if count > 0 {
        candidates.select_nth_unstable_by(count - 1, by_weight);
    }
    candidates[..count].sort_unstable_by(by_weight);
    tokens.clear();
    tokens.extend(candidates[..count].iter().map(|candidate| candidate.token));
    tokens.as_ptr()
}
