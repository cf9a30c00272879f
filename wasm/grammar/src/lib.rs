//! llguidance for a WebAssembly host: a vocabulary, grammars and matchers behind plain functions on numbers. The host
//! owns all memory that it asks for with `allocate`; texts are UTF-8. What fails returns -1 and leaves its words for
//! `error_pointer` and `error_bytes`. A trap leaves the instance unusable: the host makes a new one.

use std::sync::Arc;

use anyhow::{anyhow, Result};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

struct Vocabulary {
    trie: TokTrie,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }
    // Only forced tokens ask for this, and they are off.
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.greedy_tokenize(bytes)
    }
    // Else masks allow of a text that must come only the tokens above, which are not those that the model would take.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct State {
    factory: Option<ParserFactory>,
    environment: Option<TokEnv>,
    vocabulary: usize,
    matchers: Vec<Option<Matcher>>,
    error: String,
}

static mut STATE: Option<State> = None;

// The host calls from one thread.
#[allow(static_mut_refs)]
fn state() -> &'static mut State {
    unsafe { STATE.get_or_insert_with(State::default) }
}

fn report(result: Result<i32>) -> i32 {
    match result {
        Ok(value) => value,
        Err(error) => {
            state().error = error.to_string();
            -1
        }
    }
}

#[no_mangle]
pub extern "C" fn allocate(bytes: usize) -> *mut u8 {
    let mut buffer = Vec::<u8>::with_capacity(bytes.max(1));
    let pointer = buffer.as_mut_ptr();
    std::mem::forget(buffer);
    pointer
}

/// # Safety
/// `pointer` comes from `allocate(bytes)`.
#[no_mangle]
pub unsafe extern "C" fn release(pointer: *mut u8, bytes: usize) {
    drop(Vec::from_raw_parts(pointer, 0, bytes.max(1)));
}

#[no_mangle]
pub extern "C" fn error_pointer() -> *const u8 {
    state().error.as_ptr()
}

#[no_mangle]
pub extern "C" fn error_bytes() -> usize {
    state().error.len()
}

/// Once, before anything else. Token i is `bytes[ends[i - 1]..ends[i]]`; control tokens begin with 0xff.
///
/// # Safety
/// The pointers hold as many values as the lengths say.
#[no_mangle]
pub unsafe extern "C" fn open(
    bytes: *const u8,
    ends: *const u32,
    count: usize,
    eos: *const u32,
    eos_count: usize,
    limits: *const u32,
) -> i32 {
    let ends = std::slice::from_raw_parts(ends, count);
    let bytes = std::slice::from_raw_parts(bytes, ends.last().copied().unwrap_or(0) as usize);
    let eos = std::slice::from_raw_parts(eos, eos_count);
    let limits = std::slice::from_raw_parts(limits, 6);
    report(open_vocabulary(bytes, ends, eos, limits))
}

fn open_vocabulary(bytes: &[u8], ends: &[u32], eos: &[u32], limits: &[u32]) -> Result<i32> {
    let mut start = 0usize;
    let tokens: Vec<Vec<u8>> = ends
        .iter()
        .map(|&end| {
            let token = bytes[start..end as usize].to_vec();
            start = end as usize;
            token
        })
        .collect();
    let first = *eos.first().ok_or_else(|| anyhow!("no end-of-sequence token"))?;
    let info = TokRxInfo::new(tokens.len() as u32, first);
    let trie = TokTrie::from(&info, &tokens).with_eos_tokens(eos);
    let environment: TokEnv = Arc::new(Vocabulary { trie });
    let capabilities = InferenceCapabilities {
        ff_tokens: false,
        ..Default::default()
    };
    let mut factory = ParserFactory::new(&environment, capabilities, &SlicedBiasComputer::general_slices())?;
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        max_items_in_row: limits[0] as usize,
        initial_lexer_fuel: limits[1] as u64,
        step_lexer_fuel: limits[2] as u64,
        step_max_items: limits[3] as usize,
        max_lexer_states: limits[4] as usize,
        max_grammar_size: limits[5] as usize,
        precompute_large_lexemes: true,
        verbose_errors: false,
    };
    let state = state();
    state.vocabulary = tokens.len();
    state.factory = Some(factory);
    state.environment = Some(environment);
    Ok(0)
}

/// A matcher at the start of a grammar: its number. `kind` is json_schema, regex or lark.
///
/// # Safety
/// The pointers hold as many bytes as the lengths say.
#[no_mangle]
pub unsafe extern "C" fn create(kind: *const u8, kind_bytes: usize, text: *const u8, text_bytes: usize) -> i32 {
    let kind = std::slice::from_raw_parts(kind, kind_bytes);
    let text = std::slice::from_raw_parts(text, text_bytes);
    report(create_matcher(kind, text))
}

fn create_matcher(kind: &[u8], text: &[u8]) -> Result<i32> {
    let grammar = TopLevelGrammar::from_tagged_str(std::str::from_utf8(kind)?, std::str::from_utf8(text)?)?;
    let factory = state().factory.as_ref().ok_or_else(|| anyhow!("no vocabulary"))?;
    let mut matcher = Matcher::new(factory.create_parser(grammar));
    if let Some(error) = matcher.get_error() {
        return Err(anyhow!(error));
    }
    let warnings = matcher.grammar_warnings();
    if let Some(warning) = warnings.first() {
        return Err(anyhow!("{warning}"));
    }
    Ok(keep(matcher))
}

fn keep(matcher: Matcher) -> i32 {
    let matchers = &mut state().matchers;
    let free = matchers.iter().position(Option::is_none);
    match free {
        Some(place) => {
            matchers[place] = Some(matcher);
            place as i32
        }
        None => {
            matchers.push(Some(matcher));
            matchers.len() as i32 - 1
        }
    }
}

fn matcher(number: u32) -> Result<&'static mut Matcher> {
    let found = state().matchers.get_mut(number as usize).and_then(Option::as_mut);
    found.ok_or_else(|| anyhow!("no matcher {number}"))
}

/// Another matcher in the same state.
#[no_mangle]
pub extern "C" fn copy(number: u32) -> i32 {
    report(matcher(number).map(|matcher| keep(matcher.deep_clone())))
}

#[no_mangle]
pub extern "C" fn drop_matcher(number: u32) {
    if let Some(place) = state().matchers.get_mut(number as usize) {
        *place = None;
    }
}

/// Writes a bit for each token, 32 to a word, the lowest first: 1 where the token may come next.
///
/// # Safety
/// `words` holds (vocabulary + 31) / 32 values.
#[no_mangle]
pub unsafe extern "C" fn mask(number: u32, words: *mut u32) -> i32 {
    let count = state().vocabulary.div_ceil(32);
    let out = std::slice::from_raw_parts_mut(words, count);
    report((|| {
        let mask = matcher(number)?.compute_mask_or_eos()?;
        let from = mask.as_slice();
        let n = from.len().min(count);
        out[..n].copy_from_slice(&from[..n]);
        out[n..].fill(0);
        Ok(0)
    })())
}

/// The place of the first of the tokens that may come next; `count` where none of them may, or where only a mask says so.
///
/// # Safety
/// `tokens` holds `count` values.
#[no_mangle]
pub unsafe extern "C" fn first(number: u32, tokens: *const u32, count: usize) -> i32 {
    let tokens = std::slice::from_raw_parts(tokens, count);
    report(first_of(number, tokens).map(|place| place as i32))
}

fn first_of(number: u32, tokens: &[u32]) -> Result<usize> {
    let matcher = matcher(number)?;
    let environment = state().environment.as_ref().ok_or_else(|| anyhow!("no vocabulary"))?;
    let trie = environment.tok_trie();
    for (place, &token) in tokens.iter().enumerate() {
        // A mask has no bit for what is spelt with nothing, or lies beyond the vocabulary.
        let is_spelt = (token as usize) < trie.vocab_size() && !trie.token(token).is_empty();
        if is_spelt && matcher.validate_tokens(&[token])? == 1 {
            return Ok(place);
        }
        // An end inside of a grammar is known to masks alone.
        if trie.eos_tokens().contains(&token) {
            break;
        }
    }
    Ok(tokens.len())
}

/// 1 where nothing but the end may follow, else 0.
#[no_mangle]
pub extern "C" fn accept(number: u32, token: u32) -> i32 {
    report((|| {
        let matcher = matcher(number)?;
        // Behind the end one end follows another.
        if !matcher.is_stopped() {
            matcher.consume_token(token)?;
        }
        Ok(matcher.is_stopped() as i32)
    })())
}

#[link(wasm_import_module = "host")]
extern "C" {
    fn random(pointer: *mut u8, bytes: usize);
}

/// Seeds of hash tables: the host's own randomness, so that nobody can make keys that meet.
#[no_mangle]
unsafe extern "Rust" fn __getrandom_v03_custom(pointer: *mut u8, bytes: usize) -> Result<(), getrandom::Error> {
    random(pointer, bytes);
    Ok(())
}
