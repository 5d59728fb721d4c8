//! How fast the card loads, reads prompts and decodes, beside what its datasheet allows.

use std::path::Path;

use engine::{BLOCK_TOKENS, LanguageModel, Segment, Wanted};
use library::Gguf;
use models::{CardStatus, Config, DeviceFacts, DeviceKind, DeviceSpec, KvFormat, Model, Placement, Rates, Work};

use crate::file::Noise;
use crate::plan::{Plan, Speed};
use crate::report::{Report, SpeedRow};
use crate::run::{Outcome, layout, load, timed};
use crate::shape::Shape;

/// What a card keeps besides weights and caches, at most: its context, the kernels, a step's buffers.
const RESERVED_BYTES: u64 = 1_500_000_000;

/// Loads the file at `path` and measures it, on the card and, where there are two, over both.
pub fn measure(plan: &Plan, path: &Path, shape: &Shape, report: &mut Report) -> Outcome<()> {
    let (card, others) = plan.cards()?;
    let gguf = Gguf::open(path)?;
    let config = Config::from_gguf(&gguf)?;
    let kv_tokens = kv_tokens(&plan.speed);
    let bytes = Work::of(&gguf).step_bytes() + config.kv_bytes_per_token(KvFormat::F16) * kv_tokens as u64;
    let mut places = vec![vec![&card]];
    // The emulator's second card is not one.
    places.extend(
        others
            .first()
            .filter(|_| !plan.is_quick)
            .map(|second| vec![&card, second]),
    );
    for place in places {
        let names: Vec<String> = place.iter().map(|card| format!("cuda:{}", card.index)).collect();
        let what = format!("speed of {} on {}", shape.name, names.join(","));
        let needed = bytes / place.len() as u64 + RESERVED_BYTES;
        let has_room = |card: &&CardStatus| card.free_bytes.is_some_and(|free| free >= needed);
        if plan.is_quick || place.iter().all(has_room) {
            if let Some(row) = report.catch(&what, on(plan, path, shape, &names, &place)) {
                report.speed(row);
            }
        } else {
            report.skip(
                &what,
                &format!("left out: it takes {:.1} GB on each card", needed as f64 / 1e9),
            );
        }
    }
    Ok(())
}

/// Cache for the shared history, what each stream adds, and a prompt of one step.
fn kv_tokens(speed: &Speed) -> usize {
    let most = speed.streams.iter().copied().max().unwrap_or(1);
    let own = speed.steps.next_multiple_of(BLOCK_TOKENS);
    (speed.history_tokens + most * own).max(speed.prompt_tokens)
}

fn on(plan: &Plan, path: &Path, shape: &Shape, names: &[String], cards: &[&CardStatus]) -> Outcome<SpeedRow> {
    let speed = &plan.speed;
    let devices: Vec<&str> = names.iter().map(String::as_str).collect();
    let placement = if devices.len() > 1 {
        Placement::Tensor
    } else {
        Placement::Replicas
    };
    let layout = layout(placement, &devices, shape.layers, kv_tokens(speed))?;
    let gguf = Gguf::open(path)?;
    let config = Config::from_gguf(&gguf)?;
    let work = Work::of(&gguf);
    let load_bytes = Model::bytes_to_load(&gguf, &config, &layout)?;
    let ((_model, mut engine), load_s) = timed(|| {
        let model = load(path, layout, KvFormat::F16)?;
        let engine = model.engine(0)?;
        Ok((model, engine))
    })?;
    let tokens = Noise(7).tokens(
        speed.history_tokens.max(speed.prompt_tokens) + speed.steps,
        shape.vocabulary,
    );
    let prefill_s = prefill(&mut *engine, speed, &tokens)?;
    let sum = |limit: fn(&CardStatus) -> Option<f64>| cards.iter().map(|card| limit(card)).sum::<Option<f64>>();
    let (read, int8) = (sum(read_limit), sum(int8_limit));
    let mut decode = Vec::new();
    for streams in speed.streams.iter().copied() {
        let step_s = streams_step(&mut *engine, speed, &tokens, streams)?;
        let cached = config.kv_bytes_per_token(KvFormat::F16) * (streams * speed.history_tokens) as u64;
        let bytes = (work.step_bytes() + cached) as f64;
        decode.push((streams, streams as f64 / step_s, read.map(|read| bytes / step_s / read)));
    }
    let operations = 2.0 * work.multiply_adds(speed.prompt_tokens as u64, 1) as f64;
    Ok(SpeedRow {
        what: format!("{} on {}", shape.name, names.join(",")),
        step_gb: work.step_bytes() as f64 / 1e9,
        load_gb_per_s: load_bytes as f64 / 1e9 / load_s,
        prompt_tokens: speed.prompt_tokens,
        prefill_tokens_per_s: speed.prompt_tokens as f64 / prefill_s,
        prefill_share: int8.map(|int8| operations / prefill_s / int8),
        decode,
    })
}

/// Seconds of a step that reads a prompt from the beginning.
fn prefill(engine: &mut dyn LanguageModel, speed: &Speed, tokens: &[u32]) -> Outcome<f64> {
    let block_table: Vec<u32> = (0..speed.prompt_tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut logits = Vec::new();
    let mut step = || {
        let segment = Segment {
            tokens: &tokens[..speed.prompt_tokens],
            first_position: 0,
            block_table: &block_table,
            wanted: Wanted::Logits,
        };
        engine
            .forward(&[segment], &mut logits)
            .map_err(|error| error.to_string().into())
    };
    // The first use of every kernel is not measured.
    step()?;
    let times: Outcome<Vec<f64>> = (0..speed.rounds).map(|_| Ok(timed(&mut step)?.1)).collect();
    Ok(median(times?))
}

/// Seconds of a step that gives one token to each of `streams`, which share a history and go on in blocks of their own.
/// The history is what the cache holds: its values do not matter to the time.
fn streams_step(engine: &mut dyn LanguageModel, speed: &Speed, tokens: &[u32], streams: usize) -> Outcome<f64> {
    let shared = speed.history_tokens / BLOCK_TOKENS;
    let own = speed.steps.div_ceil(BLOCK_TOKENS);
    let table = |stream: usize| {
        let first = shared + stream * own;
        (0..shared)
            .chain(first..first + own)
            .map(|block| block as u32)
            .collect()
    };
    let tables: Vec<Vec<u32>> = (0..streams).map(table).collect();
    let mut logits = Vec::new();
    let mut round = || {
        for step in 0..speed.steps {
            // A token of its own for each stream.
            let rows = tables
                .iter()
                .enumerate()
                .map(|(stream, table)| ((step + stream) % tokens.len(), table));
            let batch: Vec<Segment<'_>> = rows
                .map(|(at, block_table)| Segment {
                    tokens: &tokens[at..=at],
                    first_position: speed.history_tokens + step,
                    block_table,
                    wanted: Wanted::Logits,
                })
                .collect();
            engine.forward(&batch, &mut logits).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    round()?;
    let times: Outcome<Vec<f64>> = (0..speed.rounds).map(|_| Ok(timed(&mut round)?.1)).collect();
    Ok(median(times?) / speed.steps as f64)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes that the card reads in a second at most: by the driver's clock and bus, else by the datasheet.
pub fn read_limit(card: &CardStatus) -> Option<f64> {
    let told = Some(card.memory_bytes_per_second).filter(|bytes| *bytes > 0);
    told.map(|bytes| bytes as f64)
        .or_else(|| Some(datasheet(card)?.read_bytes_per_s))
}

/// Operations on 8-bit integers in a second at most, by the datasheet.
pub fn int8_limit(card: &CardStatus) -> Option<f64> {
    Some(datasheet(card)?.prefill_ops_per_s)
}

/// The datasheet's limits, if it is a known card.
fn datasheet(card: &CardStatus) -> Option<Rates> {
    let spec = DeviceSpec {
        kind: DeviceKind::Cuda(card.index),
        memory_max: None,
    };
    DeviceFacts::card(card, spec).speeds.map(|speeds| speeds.ideal)
}
