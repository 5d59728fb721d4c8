//! Which layers go to which device.

use std::ops::Range;

use super::costs::Costs;

/// Deals all layers to devices in their order, at least one to each, so that the fullest is as little full as can be.
/// The last device has the output matrix too. `sizes` are the devices' memories, or all alike.
///
/// There are at least as many layers as devices, and at least one device.
pub(super) fn balanced(costs: &Costs, sizes: &[u64]) -> Vec<Range<usize>> {
    let (layers, devices) = (costs.layers(), sizes.len());
    let mut sums = vec![0.0];
    for layer in 0..layers {
        let before = sums.last().copied().unwrap_or(0.0);
        sums.push(before + costs.layer(layer).bytes as f64);
    }
    let output = costs.output_part(0, 1).bytes as f64;
    let fill = |device: usize, range: Range<usize>| {
        let extra = if device + 1 == devices { output } else { 0.0 };
        (sums[range.end] - sums[range.start] + extra) / sizes[device].max(1) as f64
    };
    // best[end]: the least fill of the fullest device, and where its last range begins, for the devices so far.
    let mut best: Vec<f64> = (0..=layers)
        .map(|end| if end == 0 { f64::INFINITY } else { fill(0, 0..end) })
        .collect();
    let mut begins = vec![vec![0; layers + 1]];
    for device in 1..devices {
        let (mut next, mut begin) = (vec![f64::INFINITY; layers + 1], vec![0; layers + 1]);
        for end in device + 1..=layers {
            for (start, before) in best.iter().enumerate().take(end).skip(device) {
                let fullest = before.max(fill(device, start..end));
                if fullest < next[end] {
                    (next[end], begin[end]) = (fullest, start);
                }
            }
        }
        best = next;
        begins.push(begin);
    }
    let mut ranges = Vec::with_capacity(devices);
    let mut end = layers;
    for begin in begins.iter().rev() {
        let start = begin[end];
        ranges.push(start..end);
        end = start;
    }
    ranges.reverse();
    ranges
}

/// What one device takes when layers are dealt until it is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes for weights and caches; none: all that comes.
    pub(super) bytes: Option<u64>,
    /// Bytes that the caches of one layer take at least.
    pub(super) kv_bytes_per_layer: u64,
}

/// Fills the devices with layers in their order. Returns one range per device, empty where nothing fits or nothing is
/// left, and where the rest begins.
///
/// The output matrix follows the last layer: when all layers but not the output matrix fit, the last layer is left over
/// with it.
pub(super) fn filled(costs: &Costs, rooms: &[Room]) -> (Vec<Range<usize>>, usize) {
    let (layers, output) = (costs.layers(), costs.output_part(0, 1).bytes);
    let mut next = 0;
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(rooms.len());
    for room in rooms {
        let (start, mut taken) = (next, 0_u64);
        while next < layers {
            let is_last = next + 1 == layers;
            let layer = costs.layer(next).bytes.saturating_add(room.kv_bytes_per_layer);
            let with = taken
                .saturating_add(layer)
                .saturating_add(if is_last { output } else { 0 });
            if room.bytes.is_some_and(|bytes| with > bytes) {
                break;
            }
            taken = with;
            next += 1;
        }
        ranges.push(start..next);
    }
    (ranges, next)
}
