//! What is written is found where the table says, as exactly as the format can, and takes the room it should.

use super::*;
use crate::math::finite_f16;

impl HeadBlock<'_> {
    /// The number stored at `index`, which belongs to element `element` of the token in slot `slot`.
    pub(crate) fn at(self, index: usize, element: usize, slot: usize) -> f32 {
        match self {
            HeadBlock::F16(bits) => finite_f16(bits[index]),
            HeadBlock::Q8_0 { quants, scales } => {
                f32::from(quants[index]) * finite_f16(scales[element / KV_GROUP * BLOCK_TOKENS + slot])
            }
        }
    }
}

impl KvLayer {
    pub(crate) fn key(&self, block: usize, kv_head: usize, slot: usize, element: usize) -> f32 {
        let index = element * BLOCK_TOKENS + slot;
        self.keys(block, kv_head).at(index, element, slot)
    }

    pub(crate) fn value(&self, block: usize, kv_head: usize, slot: usize, element: usize) -> f32 {
        let index = value_place(slot)(element);
        self.values(block, kv_head).at(index, element, slot)
    }
}

const SHAPE: KvShape = KvShape {
    kv_heads: 2,
    head_dim: 16,
};

#[test]
fn a_token_is_found_where_its_table_says() {
    let mut layer = KvLayer::zeroed(SHAPE, KvFormat::F16, 4).unwrap();
    let keys: Vec<f32> = (1..=32).map(|i| i as f32).collect();
    let values: Vec<f32> = keys.iter().map(|key| if *key == 32.0 { 1e9 } else { -key }).collect();
    layer.write(&[1, 3], 18, &keys, &values).unwrap();
    let mut written = 0;
    for block in 0..4 {
        for (head, slot, element) in (0..512).map(|i| (i / 256, i % 16, i / 16 % 16)) {
            let (key, value) = (
                layer.key(block, head, slot, element),
                layer.value(block, head, slot, element),
            );
            if (block, slot) == (3, 2) {
                assert_eq!(key, keys[head * 16 + element]);
                assert_eq!(value, values[head * 16 + element].clamp(-65504.0, 65504.0));
                written += 1;
            } else {
                assert_eq!((key, value), (0.0, 0.0), "block {block}, slot {slot}");
            }
        }
    }
    assert_eq!(written, 32);
}

/// Heads of whole groups, of one short group, and of a short group after a whole one.
#[test]
fn eight_bits_are_off_by_half_a_step_of_their_groups_largest() {
    for head_dim in [16, 32, 48, 128] {
        let shape = KvShape { kv_heads: 3, head_dim };
        let mut layer = KvLayer::zeroed(shape, KvFormat::Q8_0, 2).unwrap();
        let wave = |i: usize| ((i * 37 % 101) as f32 - 50.0) * 1.7f32.powi(i as i32 / 16 % 7 - 3);
        let keys: Vec<f32> = (0..shape.row_elements()).map(wave).collect();
        let values: Vec<f32> = keys.iter().rev().copied().collect();
        for position in [0, 15, 21] {
            layer.write(&[1, 0], position, &keys, &values).unwrap();
        }
        for (block, slot) in [(1, 0), (1, 15), (0, 5)] {
            for (index, (key, value)) in keys.iter().zip(&values).enumerate() {
                let (head, element) = (index / head_dim, index % head_dim);
                for (row, truth, found) in [
                    (&keys, key, layer.key(block, head, slot, element)),
                    (&values, value, layer.value(block, head, slot, element)),
                ] {
                    let group = &row[head * head_dim..(head + 1) * head_dim];
                    let group = group.chunks(KV_GROUP).nth(element / KV_GROUP).unwrap();
                    let largest = group.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    // Half a step of the rounding, and the scale's own to 11 bits on 127 steps.
                    let allowed = largest / 127.0 * (0.5 + 127.0 / 2048.0);
                    assert!((truth - found).abs() <= allowed, "{head_dim}: {truth}, {found}");
                }
            }
        }
    }
}

#[test]
fn whatever_is_written_the_cache_holds_finite_numbers() {
    let given = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -7e4,
        1e-30,
        -0.0,
        65504.0,
    ];
    let row = given.repeat(4);
    for format in KvFormat::ALL {
        let mut layer = KvLayer::zeroed(SHAPE, format, 1).unwrap();
        layer.write(&[0], 7, &row, &row).unwrap();
        for (index, given) in row.iter().enumerate() {
            let expected = match *given {
                x if x.is_nan() => 65504.0,
                x if x.abs() < 1e-9 => 0.0,
                x => x.clamp(-65504.0, 65504.0),
            };
            let (head, element) = (index / 16, index % 16);
            for found in [layer.key(0, head, 7, element), layer.value(0, head, 7, element)] {
                // 127 steps of the scale's nearest f16.
                assert!(
                    (found - expected).abs() <= expected.abs() / 1000.0,
                    "{format:?}: {given} is {found}"
                );
            }
        }
    }
}

#[test]
fn a_pool_takes_exactly_the_bytes_of_its_heads() {
    for (head_dim, f16, q8_0) in [(16, 32, 18), (64, 128, 68), (80, 160, 86), (128, 256, 136)] {
        let shape = KvShape { kv_heads: 2, head_dim };
        for (format, bytes) in [(KvFormat::F16, f16), (KvFormat::Q8_0, q8_0)] {
            assert_eq!(format.head_bytes(head_dim), bytes);
            let layer = KvLayer::zeroed(shape, format, 5).unwrap();
            assert_eq!(layer.format(), format);
            assert_eq!(
                layer.bytes(),
                5 * BLOCK_TOKENS * 2 * 2 * bytes,
                "{format:?}, {head_dim}"
            );
        }
    }
}

#[test]
fn a_format_is_known_by_its_name() {
    for format in KvFormat::ALL {
        assert_eq!(KvFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(KvFormat::from_name("q4_0"), None);
}

#[test]
fn what_does_not_fit_is_refused() {
    for format in KvFormat::ALL {
        let shape = KvShape {
            kv_heads: 1,
            head_dim: 16,
        };
        let mut layer = KvLayer::zeroed(shape, format, 2).unwrap();
        assert!(layer.write(&[0], 16, &[0.0; 16], &[0.0; 16]).is_err());
        assert!(layer.write(&[2], 0, &[0.0; 16], &[0.0; 16]).is_err());
        assert!(layer.write(&[1], 0, &[0.0; 17], &[0.0; 16]).is_err());
        assert!(layer.write(&[1], 15, &[0.0; 16], &[0.0; 16]).is_ok());
        let huge = KvShape {
            kv_heads: 1 << 20,
            head_dim: 1 << 20,
        };
        assert!(KvLayer::zeroed(huge, format, 1 << 20).is_err());
        let odd = KvShape {
            kv_heads: 1,
            head_dim: 24,
        };
        let error = KvLayer::zeroed(odd, format, 1).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("24") && error.contains("multiple of 16")));
    }
}
