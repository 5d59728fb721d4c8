//! Cuts a GGUF file in two, as `llama-gguf-split` does, without the program's own reader.

/// The file `whole` in two parts, the first with all its metadata and `first` of its tensors.
pub(crate) fn split_gguf(whole: &[u8], first: usize) -> [Vec<u8>; 2] {
    let mut at = 8;
    let tensors = usize::try_from(number(whole, &mut at, 8)).unwrap();
    let entries = number(whole, &mut at, 8);
    let metadata_start = at;
    for _ in 0..entries {
        skip_text(whole, &mut at);
        let code = number(whole, &mut at, 4);
        skip_value(whole, &mut at, code);
    }
    let metadata = &whole[metadata_start..at];
    // What comes before each offset, and the offset.
    let mut heads: Vec<(&[u8], u64)> = Vec::new();
    for _ in 0..tensors {
        let start = at;
        skip_text(whole, &mut at);
        let dims = usize::try_from(number(whole, &mut at, 4)).unwrap();
        at += 8 * dims + 4;
        let head = &whole[start..at];
        heads.push((head, number(whole, &mut at, 8)));
    }
    let data = &whole[at.next_multiple_of(32)..];
    let cut = heads[first].1;
    let place = usize::try_from(cut).unwrap();
    let parts = [
        (0, metadata, entries, &heads[..first], 0, &data[..place]),
        (1, &[][..], 0, &heads[first..], cut, &data[place..]),
    ];
    parts.map(|(part, metadata, entries, heads, base, data)| {
        let mut file = whole[..8].to_vec();
        file.extend((heads.len() as u64).to_le_bytes());
        file.extend((entries + 3).to_le_bytes());
        file.extend(metadata);
        for (key, value) in [
            ("split.no", part),
            ("split.count", 2),
            ("split.tensors.count", tensors as u64),
        ] {
            file.extend((key.len() as u64).to_le_bytes());
            file.extend(key.as_bytes());
            file.extend(10_u32.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        for (head, offset) in heads {
            file.extend(*head);
            file.extend((offset - base).to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    })
}

/// The next `bytes` bytes as a number.
fn number(file: &[u8], at: &mut usize, bytes: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes].copy_from_slice(&file[*at..*at + bytes]);
    *at += bytes;
    u64::from_le_bytes(wide)
}

fn skip_text(file: &[u8], at: &mut usize) {
    *at += usize::try_from(number(file, at, 8)).unwrap();
}

fn skip_value(file: &[u8], at: &mut usize, code: u64) {
    match code {
        8 => skip_text(file, at),
        9 => {
            let code = number(file, at, 4);
            for _ in 0..number(file, at, 8) {
                skip_value(file, at, code);
            }
        }
        0 | 1 | 7 => *at += 1,
        2 | 3 => *at += 2,
        10..=12 => *at += 8,
        _ => *at += 4,
    }
}
