//! Tokens per second over the batch size, as a picture: what was measured, and what the machine allows.
//!
//! The background is the picture's own, so that it reads on light and dark pages alike.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::error::BenchError;
use super::report::{Batch, Report};
use crate::units::digits;

const SIZE: (u32, u32) = (840, 500);
const PAPER: RGBColor = RGBColor(252, 252, 250);
const INK: RGBColor = RGBColor(38, 42, 48);
const FAINT: RGBColor = RGBColor(112, 118, 128);
const GRID: RGBColor = RGBColor(228, 228, 224);
const MEASURED: RGBColor = RGBColor(0, 110, 190);
const LIMIT: RGBColor = RGBColor(205, 95, 30);
/// Whatever sans serif the reader has: names for browsers, none is needed to draw.
const FONT: &str = "Inter, Segoe UI, Helvetica, Arial, sans-serif";

/// The drawing as SVG.
///
/// # Errors
/// None that figures can cause.
pub(super) fn svg(report: &Report) -> Result<String, BenchError> {
    let mut drawing = String::new();
    draw(report, &mut drawing).map_err(|error| BenchError::Drawing(error.to_string()))?;
    Ok(drawing)
}

fn draw(report: &Report, into: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(into, SIZE).into_drawing_area();
    area.fill(&PAPER)?;
    let text = |size: u32, colour: RGBColor| {
        let mut style = TextStyle::from((FONT, size).into_font());
        style.color = colour.to_backend_color();
        style
    };
    let title = format!("{}, {}", report.model.name, report.model.quantisation);
    area.draw(&Text::new(title, (28, 20), text(22, INK)))?;
    area.draw(&Text::new(subtitle(report), (28, 50), text(14, FAINT)))?;

    let (sequences_max, rate_max) = extent(&report.batches);
    let mut chart = ChartBuilder::on(&area.margin(84, 14, 14, 30))
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..sequences_max, 0.0..rate_max)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT)
        .x_labels(9)
        .y_labels(6)
        .x_label_formatter(&|sequences| format!("{sequences:.0}"))
        .y_label_formatter(&|rate| digits_at_tick(*rate))
        .label_style(text(14, FAINT))
        .axis_desc_style(text(15, INK))
        .x_desc("sequences decoded together")
        .y_desc("output tokens per second")
        .draw()?;

    let limit = limit_line(&report.batches);
    chart.draw_series(LineSeries::new(limit.clone(), LIMIT.stroke_width(2)))?;
    let measured = report
        .batches
        .iter()
        .map(|batch| (batch.sequences as f64, batch.tokens_per_s));
    chart.draw_series(LineSeries::new(measured.clone(), MEASURED.stroke_width(3)))?;
    chart.draw_series(measured.clone().map(|point| Circle::new(point, 5, MEASURED.filled())))?;
    // Below and beside each point: above it the limit may pass.
    let label = |words: String, colour, at, x, y| Text::new(words, at, text(14, colour).pos(Pos::new(x, y)));
    chart.draw_series(measured.clone().map(|point| {
        let rate = label(digits(point.1), MEASURED, (9, 5), HPos::Left, VPos::Top);
        EmptyElement::at(point) + rate
    }))?;
    let named = [
        (limit.last().copied(), "what this machine allows", LIMIT),
        (measured.clone().next_back(), "Tandem", MEASURED),
    ];
    for (end, name, colour) in named {
        let name = label(name.to_owned(), colour, (0, -9), HPos::Right, VPos::Bottom);
        chart.draw_series(end.map(|end| EmptyElement::at(end) + name))?;
    }
    area.present()?;
    Ok(())
}

fn subtitle(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}, {} threads: {} GB/s read from memory, {} GOP/s of 8-bit products ({})",
        machine.processor.as_deref().unwrap_or("processor unknown"),
        machine.threads,
        digits(machine.memory_read_gb_per_s),
        digits(machine.int8_gop_per_s),
        machine.instructions_shown,
    )
}

/// The ends of both axes, with room for the labels above the points.
fn extent(batches: &[Batch]) -> (f64, f64) {
    let most = |figure: fn(&Batch) -> f64| batches.iter().map(figure).fold(0.0, f64::max);
    let rate = most(|batch| batch.tokens_per_s.max(batch.limit_tokens_per_s));
    (
        1.06 * most(|batch| batch.sequences as f64),
        1.12 * rate.max(f64::MIN_POSITIVE),
    )
}

/// The limit at each whole number of sequences: along the memory's while that is the lower, then along the multipliers'.
fn limit_line(batches: &[Batch]) -> Vec<(f64, f64)> {
    let Some(batch) = batches.last() else {
        return Vec::new();
    };
    // Both follow from any one batch: its rate over its share.
    let memory = batch.tokens_per_s / batch.memory_share / batch.sequences as f64;
    let int8 = batch.tokens_per_s / batch.int8_share;
    let at = |sequences: f64| (sequences, (sequences * memory).min(int8));
    let (knee, end) = (int8 / memory, batch.sequences as f64);
    let corner = (knee < end).then(|| at(knee));
    [Some(at(0.0)), corner, Some(at(end))].into_iter().flatten().collect()
}

/// A tick's number without digits that are all zero.
fn digits_at_tick(rate: f64) -> String {
    if rate.fract() == 0.0 {
        digits(rate).replace(".00", "").replace(".0", "")
    } else {
        digits(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    fn texts(drawing: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(drawing).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        texts.filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
    }

    #[test]
    fn the_picture_says_what_it_shows() {
        let said = texts(&svg(&example()).unwrap());
        for words in [
            "deepseek-r1-distill-qwen-1.5b, Q4_K_M",
            "Abacus 9000, 2 threads: 25.0 GB/s read from memory, 400 GOP/s of 8-bit products (AVX2)",
            "sequences decoded together",
            "output tokens per second",
            "what this machine allows",
            "Tandem",
            "20.0",
            "50.0",
            "64.0",
        ] {
            assert!(said.iter().any(|text| text == words), "{words:?} is not in {said:?}");
        }
    }

    #[test]
    fn a_name_cannot_break_the_picture() {
        let mut report = example();
        report.model.name = "<script>&\"'".to_owned();
        report.machine.processor = None;
        let said = texts(&svg(&report).unwrap());
        assert!(said.iter().any(|text| text.contains("<script>&\"'")), "{said:?}");
    }

    #[test]
    fn the_limit_follows_the_memory_then_the_multipliers() {
        let line = limit_line(&example().batches);
        let expected = [(0.0, 0.0), (16.0 / 3.0, 400.0 / 3.0), (16.0, 400.0 / 3.0)];
        assert_eq!(line.len(), expected.len());
        for (found, expected) in line.iter().zip(expected) {
            assert!(
                (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9,
                "{line:?}"
            );
        }
    }

    #[test]
    fn one_batch_alone_is_a_picture_too() {
        let mut report = example();
        report.batches.truncate(1);
        assert!(texts(&svg(&report).unwrap()).iter().any(|text| text == "20.0"));
    }
}
