//! Files in order: what is said in them is what comes out.

use std::fs::OpenOptions;
use std::path::Path;
use std::thread;

use super::{assert_problem, open, small};
use crate::gguf::{Array, Gguf, Problem, TensorType, Value};
use crate::testing::GgufFile;

#[test]
fn metadata_comes_out_as_it_went_in() {
    let gguf = open(&small());
    let metadata = gguf.metadata();
    assert_eq!(metadata.text("general.architecture").unwrap(), "qwen2");
    assert_eq!(metadata.unsigned("qwen2.block_count").unwrap(), 1);
    assert_eq!(metadata.float("qwen2.rope.freq_base").unwrap(), 10_000.0);
    assert!(!metadata.flag("tokenizer.ggml.add_bos_token").unwrap());
    assert_eq!(metadata.texts("tokenizer.ggml.merges").unwrap(), ["a b"]);
    assert_eq!(metadata.unsigneds("tokenizer.ggml.token_type").unwrap(), [1, 1, 1, 3]);
    assert_eq!(metadata.unsigned_or("absent", 7).unwrap(), 7);
    assert_eq!(metadata.float_or("absent", 0.5).unwrap(), 0.5);
    assert!(metadata.flag_or("absent", true).unwrap());
    assert_eq!(metadata.opt_text("absent").unwrap(), None);
    assert_eq!(metadata.iter().count(), 11);
}

#[test]
fn every_value_type_is_read() {
    fn check(code: u32, bytes: &[u8], expected: Value) {
        let gguf = open(&GgufFile::new().entry("key", code, bytes));
        assert_eq!(gguf.metadata().get("key"), Some(&expected), "type {code}");
    }
    check(0, &[200], Value::Unsigned(200));
    check(1, &[255], Value::Signed(-1));
    check(2, &[1, 2], Value::Unsigned(513));
    check(3, &[254, 255], Value::Signed(-2));
    check(4, &[0, 0, 0, 128], Value::Unsigned(1 << 31));
    check(5, &[0, 0, 0, 128], Value::Signed(-(1 << 31)));
    check(6, &1.5_f32.to_le_bytes(), Value::Float(1.5));
    check(7, &[1], Value::Flag(true));
    check(8, &[2, 0, 0, 0, 0, 0, 0, 0, b'h', b'i'], Value::Text("hi".into()));
    check(10, &u64::MAX.to_le_bytes(), Value::Unsigned(u64::MAX));
    check(11, &i64::MIN.to_le_bytes(), Value::Signed(i64::MIN));
    check(12, &(-0.25_f64).to_le_bytes(), Value::Float(-0.25));
}

#[test]
fn every_array_type_is_read_and_kept_in_its_own_width() {
    fn check(code: u32, elements: u64, bytes: &[u8], expected: Array) {
        let gguf = open(&GgufFile::new().array("key", code, elements, bytes));
        assert_eq!(gguf.metadata().get("key"), Some(&Value::Array(expected)), "type {code}");
    }
    check(0, 2, &[1, 255], Array::U8(vec![1, 255]));
    check(1, 2, &[1, 255], Array::I8(vec![1, -1]));
    check(2, 1, &[1, 2], Array::U16(vec![513]));
    check(3, 1, &[255, 255], Array::I16(vec![-1]));
    check(4, 1, &[1, 0, 0, 0], Array::U32(vec![1]));
    check(5, 1, &[255, 255, 255, 255], Array::I32(vec![-1]));
    check(6, 1, &2.0_f32.to_le_bytes(), Array::F32(vec![2.0]));
    check(7, 2, &[0, 1], Array::Flags(vec![false, true]));
    check(8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, b'x'], Array::Texts(vec!["x".into()]));
    check(8, 0, &[], Array::Texts(Vec::new()));
    check(10, 1, &[9, 0, 0, 0, 0, 0, 0, 0], Array::U64(vec![9]));
    check(11, 1, &[255; 8], Array::I64(vec![-1]));
    check(12, 1, &3.0_f64.to_le_bytes(), Array::F64(vec![3.0]));
}

#[test]
fn version_2_is_read_like_version_3() {
    let gguf = open(&small().version(2));
    assert_eq!(gguf.tensors(), open(&small()).tensors());
}

#[test]
fn tensors_keep_the_order_of_the_file_and_are_found_by_name() {
    let gguf = open(&small());
    let names: Vec<_> = gguf.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(
        names,
        ["token_embd.weight", "output_norm.weight", "blk.0.ffn_up.weight"]
    );
    let embedding = gguf.tensor("token_embd.weight").unwrap();
    assert_eq!(
        (embedding.columns(), embedding.rows(), embedding.elements()),
        (32, 4, 128)
    );
    assert_eq!((embedding.kind, embedding.bytes), (TensorType::Q8_0, 4 * 34));
    let norm = gguf.tensor("output_norm.weight").unwrap();
    assert_eq!((norm.columns(), norm.rows(), norm.bytes), (32, 1, 128));
    assert!(gguf.tensor("absent").is_none());
}

#[test]
fn every_tensor_type_has_the_size_the_format_gives_it() {
    // Block length and bytes as listed by gguf-py's GGML_QUANT_SIZES.
    let sizes = [
        ("F32", 1, 4),
        ("F16", 1, 2),
        ("BF16", 1, 2),
        ("Q4_0", 32, 18),
        ("Q5_0", 32, 22),
        ("Q8_0", 32, 34),
        ("Q2_K", 256, 84),
        ("Q3_K", 256, 110),
        ("Q4_K", 256, 144),
        ("Q5_K", 256, 176),
        ("Q6_K", 256, 210),
    ];
    for (kind, (name, elements, bytes)) in TensorType::ALL.into_iter().zip(sizes) {
        assert_eq!(
            (kind.name(), kind.block_elements(), kind.block_bytes()),
            (name, elements, bytes)
        );
        let gguf = open(&GgufFile::new().zeros("t", &[512, 3], kind));
        assert_eq!(gguf.tensors()[0].bytes, 512 / elements * bytes * 3, "{name}");
    }
}

#[test]
fn tensors_may_lie_in_any_order_with_gaps_between() {
    let file = GgufFile::new()
        .tensor("second", &[2], TensorType::F32, vec![1; 8])
        .at_offset(64)
        .tensor("first", &[2], TensorType::F32, vec![2; 8])
        .at_offset(0)
        .tensor("spare", &[8], TensorType::F32, vec![3; 32])
        .at_offset(32);
    let gguf = open(&file);
    let mut bytes = [0; 8];
    gguf.read(gguf.tensor("first").unwrap(), 0, &mut bytes).unwrap();
    assert_eq!(bytes, [1; 8], "the bytes at offset 0 are those written first");
}

#[test]
fn the_last_tensor_needs_no_padding_behind_it() {
    let mut bytes = GgufFile::new().tensor("t", &[1], TensorType::F32, vec![7; 4]).bytes();
    bytes.truncate(bytes.len() - 28);
    let gguf = Gguf::from_bytes(bytes, "unpadded").unwrap();
    let mut data = [0; 4];
    gguf.read(&gguf.tensors()[0], 0, &mut data).unwrap();
    assert_eq!(data, [7; 4]);
}

#[test]
fn a_file_on_disk_gives_the_bytes_of_each_tensor_to_any_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    small().write(&path).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.file_bytes(), small().bytes().len() as u64);
    assert_eq!(gguf.name(), path.to_str().unwrap());
    thread::scope(|scope| {
        for first in 0..8_u8 {
            let gguf = &gguf;
            scope.spawn(move || {
                let embedding = gguf.tensor("token_embd.weight").unwrap();
                let mut bytes = [0; 100];
                gguf.read(embedding, u64::from(first), &mut bytes).unwrap();
                assert!(bytes.iter().zip(first..).all(|(found, expected)| *found == expected));
            });
        }
    });
}

#[test]
fn bytes_outside_a_tensor_are_refused() {
    fn check(offset: u64, bytes: usize, allowed: bool) {
        let gguf = open(&small());
        let read = gguf.read(gguf.tensor("output_norm.weight").unwrap(), offset, &mut vec![0; bytes]);
        match read {
            Ok(()) => assert!(allowed, "{bytes} bytes from {offset} were read"),
            Err(error) => {
                assert!(!allowed, "{error}");
                assert_problem!(*error.problem, Problem::OutsideTensor { tensor_bytes: 128, .. });
            }
        }
    }
    check(0, 128, true);
    check(0, 129, false);
    check(127, 1, true);
    check(128, 0, true);
    check(128, 1, false);
    check(u64::MAX, 1, false);
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinks.gguf");
    small().write(&path).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let last = gguf.tensors().last().unwrap();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(last.offset + 1)
        .unwrap();
    let error = gguf.read(last, 0, &mut [0; 2]).unwrap_err();
    assert_problem!(*error.problem, Problem::Read { .. });
}

#[test]
fn paths_that_are_no_model_are_refused_at_once() {
    fn check(path: &Path, words: &str) {
        let error = Gguf::open(path).expect_err("no model").to_string();
        assert!(error.contains(words), "{error:?} lacks {words:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty"), []).unwrap();
    std::fs::write(at("short"), b"GGUF").unwrap();
    check(&at("absent"), "cannot be opened");
    check(folder.path(), "a directory");
    check(&at("empty"), "ends too early");
    check(&at("short"), "ends too early");
    #[cfg(unix)]
    {
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        check(&at("socket"), "a socket");
        check(&at("pipe"), "a pipe");
        check(Path::new("/dev/zero"), "a device");
        check(Path::new("/dev/random"), "a device");
    }
}
