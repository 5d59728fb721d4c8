//! What is right and what is wrong: the kernels' own tests, logits beside the processor's, placements, the soak.

use std::path::Path;
use std::process::Command;

use engine::BLOCK_TOKENS;
use models::{KvFormat, Model, Placement};

use crate::agree::Agreement;
use crate::file::Noise;
use crate::plan::Plan;
use crate::report::Report;
use crate::run::{Logits, Outcome, Talk, answer, answers, layout, load, read, tokens_of};
use crate::shape::Shape;

/// The kernels' own tests, which are another program.
pub fn kernels(program: &Path, report: &mut Report) -> Outcome<()> {
    let run = Command::new(program).output()?;
    let said = String::from_utf8_lossy(&run.stdout);
    let summary = said.lines().rev().find(|line| line.starts_with("test result:"));
    let is_good = run.status.success() && summary.is_some();
    if !is_good {
        println!("{said}{}", String::from_utf8_lossy(&run.stderr));
    }
    let summary = summary.unwrap_or("no result").trim_start_matches("test result: ");
    report.add("kernels beside their scalar twins", summary, is_good);
    Ok(())
}

/// A model alone on one device, keys and values as `format`.
fn alone(plan: &Plan, path: &Path, device: &str, format: KvFormat, talk: &Talk) -> Outcome<Model> {
    let layout = layout(Placement::Replicas, &[device], plan.model.layers, talk.kv_tokens())?;
    load(path, layout, format)
}

/// What the processor says, keys and values as `format`.
fn processor(plan: &Plan, path: &Path, format: KvFormat, talk: &Talk) -> Outcome<Logits> {
    answer(&mut *alone(plan, path, "cpu", format, talk)?.engine(0)?, talk, None)
}

/// The card beside the processor, fed with the processor's choices; and one conversation by itself beside the same in
/// the company of others.
pub fn logits(plan: &Plan, path: &Path, report: &mut Report) -> Outcome<()> {
    let (talk, name) = (plan.talk(), plan.model.name);
    for format in KvFormat::ALL {
        let expected = processor(plan, path, format, &talk)?;
        let said = tokens_of(&expected);
        let mut engine = alone(plan, path, &plan.device, format, &talk)?.engine(0)?;
        let found = answer(&mut *engine, &talk, Some(&said))?;
        let agreement = Agreement::between(&expected, &found);
        let what = format!("{name}, cache {}: the card beside the processor", format.name());
        report.add(&what, &agreement.to_string(), agreement.is_close());
        let last = talk.prompts.len() - 1;
        let single = Talk {
            prompts: vec![talk.prompts[last].clone()],
            tokens: talk.tokens,
        };
        let found_single = answer(&mut *engine, &single, Some(&said[last..]))?;
        let company = Agreement::between(&found[last..].to_vec(), &found_single);
        let what = format!("{name}, cache {}: a conversation alone and among others", format.name());
        // Products of one row and of several add up in another order.
        report.add(&what, &company.to_string(), company.is_close());
    }
    Ok(())
}

/// Every placement with the card in both places, fed with what the card alone says.
pub fn placements(plan: &Plan, path: &Path, report: &mut Report) -> Outcome<()> {
    let (talk, layers, card) = (plan.talk(), plan.model.layers, plan.device.as_str());
    let processor = processor(plan, path, KvFormat::F16, &talk)?;
    let from_processor = tokens_of(&processor);
    let expected = {
        let model = alone(plan, path, card, KvFormat::F16, &talk)?;
        answer(&mut *model.engine(0)?, &talk, None)?
    };
    let said = tokens_of(&expected);
    let limited = format!("{card}@64G");
    let places = [
        (Placement::Replicas, vec![card, card]),
        (Placement::Pipeline, vec![card, card]),
        (Placement::Tensor, vec![card, card]),
        (Placement::Offload, vec![limited.as_str(), "cpu"]),
    ];
    for (placement, devices) in places {
        let what = format!("{} on {}, beside the card alone", placement.name(), devices.join(","));
        let run = || -> Outcome<Vec<(Agreement, Agreement)>> {
            let model = load(
                path,
                layout(placement, &devices, layers, talk.kv_tokens())?,
                KvFormat::F16,
            )?;
            let beside_card = answers(&model, &talk, Some(&said))?;
            let beside_processor = answers(&model, &talk, Some(&from_processor))?;
            let pairs = beside_card.iter().zip(&beside_processor);
            let agree = |(card, cpu)| (Agreement::between(&expected, card), Agreement::between(&processor, cpu));
            Ok(pairs.map(agree).collect())
        };
        let engines = report.catch(&what, run()).unwrap_or_default();
        for (index, (card, cpu)) in engines.iter().enumerate() {
            // Parts of a matrix are added up in another order than the whole, layers on the processor round otherwise.
            let is_good = match placement {
                Placement::Replicas | Placement::Pipeline => card.is_same_bits(),
                Placement::Tensor | Placement::Offload => card.is_close(),
            };
            let found = format!("engine {index}: {card}");
            report.add(&what, &found, is_good);
            if !cpu.is_close() {
                report.add(&what, &format!("engine {index} beside the processor: {cpu}"), false);
            }
        }
    }
    Ok(())
}

/// More rows than the largest tile of a product has.
const WARM_UP_TOKENS: usize = 144;

/// A prompt of every length through one engine: nothing fails, and the card's memory stays as it is.
pub fn soak(plan: &Plan, path: &Path, shape: &Shape, report: &mut Report) -> Outcome<()> {
    let longest = plan.soak_tokens;
    let kv_tokens = longest + BLOCK_TOKENS;
    let model = load(
        path,
        layout(Placement::Replicas, &[&plan.device], shape.layers, kv_tokens)?,
        KvFormat::F16,
    )?;
    let mut engine = model.engine(0)?;
    let tokens = Noise(4096).tokens(longest, shape.vocabulary);
    let table: Vec<u32> = (0..kv_tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
    // Drivers load a kernel when it is first used, and which one a step uses depends on its rows.
    for length in 1..=longest.min(WARM_UP_TOKENS) {
        read(&mut *engine, &tokens[..length], &table)?;
    }
    let lengths = [longest, longest / 2 + 1, 1];
    let expected: Outcome<Vec<_>> = lengths
        .map(|length| read(&mut *engine, &tokens[..length], &table))
        .into_iter()
        .collect();
    let expected = expected?;
    let before = free_bytes(plan)?;
    let mut broken = 0;
    for length in 1..=longest {
        let logits = read(&mut *engine, &tokens[..length], &table)?;
        broken += usize::from(!logits.iter().all(|logit| logit.is_finite()));
    }
    let after = free_bytes(plan)?;
    let mut is_same = true;
    for (length, expected) in lengths.into_iter().zip(expected) {
        is_same &= read(&mut *engine, &tokens[..length], &table)? == expected;
    }
    let found = format!(
        "{longest} lengths; card's memory {}; {broken} answers with something that is no number; {} afterwards",
        match before.cmp(&after) {
            std::cmp::Ordering::Equal => "the same to the byte".to_owned(),
            std::cmp::Ordering::Less => format!("{} bytes freed", after - before),
            std::cmp::Ordering::Greater => format!("{} bytes lost", before - after),
        },
        if is_same { "the same bits" } else { "other bits" },
    );
    let is_flat = before <= after + plan.slack_bytes;
    report.add(
        "soak: every prompt length up to the longest",
        &found,
        broken == 0 && is_same && is_flat,
    );
    Ok(())
}

/// Free memory of the card.
fn free_bytes(plan: &Plan) -> Outcome<u64> {
    let (card, _) = plan.cards()?;
    card.free_bytes
        .ok_or_else(|| "the card's free memory is unknown".into())
}
