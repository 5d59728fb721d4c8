//! How fast the card loads, reads prompts and decodes, beside what its datasheet allows.

use std::path::Path;

use engine::{BLOCK_TOKENS, LanguageModel, Segment};
use library::Gguf;
use models::{CARDS, Card, Cards, Config, FoundCard, KvFormat, Model, Placement, Work};

use crate::file::Noise;
use crate::plan::{Plan, Speed};
use crate::report::{Report, SpeedRow};
use crate::run::{Outcome, STEP_ROWS_MAX, layout, load, timed};
use crate::shape::Shape;

/// What a card keeps besides weights and caches, at most: its context, the kernels, a step's buffers.
const RESERVED_BYTES: u64 = 1_500_000_000;

/// Loads the file at `path` and measures it, on the card and, where there are two, over both.
pub fn measure(plan: &Plan, path: &Path, shape: &Shape, report: &mut Report) -> Outcome<()> {
    let cards = Cards::of_machine();
    let card = plan.card(&cards)?;
    let second = match &cards {
        Cards::Found(found) => found.iter().find(|other| other.index != card.index),
        _ => None,
    };
    let gguf = Gguf::open(path)?;
    let config = Config::from_gguf(&gguf)?;
    let kv_tokens = kv_tokens(&plan.speed);
    let bytes = Work::of(&gguf).step_bytes() + config.kv_bytes_per_token(KvFormat::F16) * kv_tokens as u64;
    let mut places = vec![vec![card]];
    // The emulator's second card is not one.
    places.extend(second.filter(|_| !plan.is_quick).map(|second| vec![card, second]));
    for place in places {
        let needed = bytes / place.len() as u64 + RESERVED_BYTES;
        let names: Vec<String> = place.iter().map(|card| format!("cuda:{}", card.index)).collect();
        let what = format!("speed of {} on {}", shape.name, names.join(","));
        match place
            .iter()
            .map(|card| card.free_bytes.clone())
            .collect::<Result<Vec<u64>, String>>()
        {
            Ok(free) if free.iter().all(|free| *free >= needed) || plan.is_quick => {
                let row = on(plan, path, shape, &names, &place);
                if let Some(row) = report.catch(&what, row) {
                    report.speed(row);
                }
            }
            Ok(_) => report.skip(
                &what,
                &format!("left out: it takes {:.1} GB on each card", needed as f64 / 1e9),
            ),
            Err(reason) => report.add(&what, &reason, false),
        }
    }
    Ok(())
}

/// Cache for the shared history, what each stream adds, and a prompt of one step.
fn kv_tokens(speed: &Speed) -> usize {
    let most = speed.streams.iter().copied().max().unwrap_or(1);
    let own = speed.steps.next_multiple_of(BLOCK_TOKENS);
    (speed.history_tokens + most * own).max(STEP_ROWS_MAX)
}

fn on(plan: &Plan, path: &Path, shape: &Shape, names: &[String], cards: &[&FoundCard]) -> Outcome<SpeedRow> {
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
    let tokens = Noise(7).tokens(speed.history_tokens.max(STEP_ROWS_MAX) + speed.steps, shape.vocabulary);
    let prefill_s = prefill(&mut *engine, speed, &tokens)?;
    let rate = |rate: fn(&FoundCard) -> Option<f64>| cards.iter().map(|card| rate(card)).sum::<Option<f64>>();
    let (read, int8) = (rate(read_bytes_per_s), rate(|card| Some(known(card)?.int8_ops_per_s)));
    let mut decode = Vec::new();
    for streams in speed.streams.iter().copied() {
        let step_s = streams_step(&mut *engine, speed, &tokens, streams)?;
        let cached = config.kv_bytes_per_token(KvFormat::F16) * (streams * speed.history_tokens) as u64;
        let bytes = (work.step_bytes() + cached) as f64;
        decode.push((streams, streams as f64 / step_s, read.map(|read| bytes / step_s / read)));
    }
    let operations = 2.0 * work.multiply_adds(STEP_ROWS_MAX as u64, 1) as f64;
    Ok(SpeedRow {
        what: format!("{} on {}", shape.name, names.join(",")),
        step_gb: work.step_bytes() as f64 / 1e9,
        load_gb_per_s: load_bytes as f64 / 1e9 / load_s,
        prefill_tokens_per_s: STEP_ROWS_MAX as f64 / prefill_s,
        prefill_share: int8.map(|int8| operations / prefill_s / int8),
        decode,
    })
}

/// Seconds of a step of 512 prompt tokens from the beginning.
fn prefill(engine: &mut dyn LanguageModel, speed: &Speed, tokens: &[u32]) -> Outcome<f64> {
    let block_table: Vec<u32> = (0..STEP_ROWS_MAX.div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut logits = Vec::new();
    let mut step = || {
        let segment = Segment {
            tokens: &tokens[..STEP_ROWS_MAX],
            first_position: 0,
            block_table: &block_table,
            wants_logits: true,
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
            let segment = |(stream, block_table): (usize, &'_ Vec<u32>)| {
                (tokens[(step + stream) % tokens.len()], block_table.clone())
            };
            let rows: Vec<(u32, Vec<u32>)> = tables.iter().enumerate().map(segment).collect();
            let batch: Vec<Segment<'_>> = rows
                .iter()
                .map(|(token, block_table)| Segment {
                    tokens: std::slice::from_ref(token),
                    first_position: speed.history_tokens + step,
                    block_table,
                    wants_logits: true,
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

/// The bandwidth by the driver's clock and bus, or by the datasheet.
pub fn read_bytes_per_s(card: &FoundCard) -> Option<f64> {
    card.read_bytes_per_s
        .map(|bytes| bytes as f64)
        .or_else(|| Some(known(card)?.read_bytes_per_s))
}

/// The card of the table that the driver's name speaks of: `NVIDIA A100-SXM4-80GB` is the `a100-80g`, `Tesla T4` the
/// `t4`. Of several with one name it is the one of about the same memory.
pub fn known(card: &FoundCard) -> Option<&'static Card> {
    let name = card.name.to_lowercase().replace("rtx ", "rtx").replace(" ti", "ti");
    let words: Vec<&str> = name.split([' ', '-', '_']).collect();
    let is_named = |known: &&Card| {
        let model = known.name.split('-').next().unwrap_or(known.name);
        words.contains(&model)
    };
    let distance = |known: &&Card| known.memory.abs_diff(card.memory_bytes);
    CARDS.iter().filter(is_named).min_by_key(distance)
}
