//! Models in several files: read as one, and each way in which they may not belong together.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{assert_fit_to_show, assert_problem};
use crate::gguf::limits::{PARTS_MAX, TENSORS_MAX};
use crate::gguf::{Gguf, Problem, SplitName, TensorType};
use crate::testing::GgufFile;

/// The part `number`, from 1 on, of `parts`, which has one tensor with its number in all bytes.
fn part(number: u8, parts: u32) -> GgufFile {
    announcing(number, parts, parts)
}

fn announcing(number: u8, parts: u32, tensors: u32) -> GgufFile {
    let bytes = vec![number; 32 * usize::from(number)];
    let file = GgufFile::new()
        .unsigned("split.no", u32::from(number) - 1)
        .unsigned("split.count", parts)
        .unsigned("split.tensors.count", tensors);
    let file = if number == 1 {
        file.text("general.name", "whole")
    } else {
        file
    };
    file.tensor(&format!("t{number}"), &[8 * u64::from(number)], TensorType::F32, bytes)
}

/// Files of a split model.
struct Files(TempDir);

impl Files {
    fn three() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        (1..=3).for_each(|number| files.write(number, &part(number, 3)));
        files
    }

    fn path(&self, number: u8) -> PathBuf {
        self.0.path().join(format!("a-{number:05}-of-00003.gguf"))
    }

    fn write(&self, number: u8, file: &GgufFile) {
        file.write(&self.path(number)).unwrap();
    }

    fn refusal(&self, number: u8) -> (String, Problem) {
        let error = Gguf::open(&self.path(number)).expect_err("the parts are not in order");
        assert_fit_to_show(&error.to_string());
        (error.to_string(), *error.problem)
    }
}

#[test]
fn the_first_part_opens_them_all() {
    let files = Files::three();
    let gguf = Gguf::open(&files.path(1)).unwrap();
    assert_eq!(gguf.metadata().text("general.name").unwrap(), "whole");
    assert_eq!(gguf.tensors().len(), 3);
    for number in 1..=3_u8 {
        let tensor = gguf.tensor(&format!("t{number}")).unwrap();
        let mut bytes = vec![0; 32 * usize::from(number)];
        gguf.read(tensor, 0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == number), "{bytes:?}");
        let mut end = [0; 4];
        gguf.read(tensor, tensor.bytes - 4, &mut end).unwrap();
        assert_eq!(end, [number; 4]);
        assert!(gguf.read(tensor, tensor.bytes - 3, &mut end).is_err());
    }
    let bytes: u64 = (1..=3)
        .map(|number| fs::metadata(files.path(number)).unwrap().len())
        .sum();
    assert_eq!(gguf.file_bytes(), bytes);
}

#[test]
fn another_part_says_which_one_to_name() {
    let files = Files::three();
    let (said, problem) = files.refusal(2);
    assert_problem!(
        problem,
        Problem::LaterPart {
            number: 2,
            parts: 3,
            ..
        }
    );
    assert!(said.contains("`a-00001-of-00003.gguf`"), "{said}");
}

#[test]
fn what_is_missing_is_named() {
    let files = Files::three();
    fs::remove_file(files.path(2)).unwrap();
    let (said, problem) = files.refusal(1);
    assert_problem!(problem, Problem::MissingParts { missing: 1, .. });
    assert!(
        said.contains("`a-00002-of-00003.gguf`") && !said.contains("00003-of"),
        "{said}"
    );
    let other_name = files.0.path().join("model.gguf");
    fs::rename(files.path(1), &other_name).unwrap();
    let error = Gguf::open(&other_name).unwrap_err();
    assert_problem!(*error.problem, Problem::SplitName { parts: 3 });
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    for (number, file, key) in [
        (2, part(3, 3), "split.no"),
        (2, part(2, 4), "split.count"),
        (3, announcing(3, 3, 4), "split.tensors.count"),
        (3, GgufFile::new(), "split.count"),
    ] {
        let files = Files::three();
        files.write(number, &file);
        let (said, problem) = files.refusal(1);
        assert_problem!(problem, Problem::OtherPart { .. });
        assert!(
            said.contains(key) && said.contains(&format!("a-{number:05}-of")),
            "{said}"
        );
    }
    let files = Files::three();
    files.write(2, &part(2, 3).zeros("t1", &[8], TensorType::F32));
    assert_problem!(files.refusal(1).1, Problem::DuplicateTensor { .. });
    files.write(2, &part(2, 3).zeros("more", &[8], TensorType::F32));
    assert_problem!(files.refusal(1).1, Problem::SplitTensors { found: 4, expected: 3 });
}

#[test]
fn a_part_that_is_cut_or_no_file_is_named() {
    let files = Files::three();
    let bytes = fs::read(files.path(3)).unwrap();
    fs::write(files.path(3), &bytes[..bytes.len() - 1]).unwrap();
    let (said, problem) = files.refusal(1);
    assert_problem!(problem, Problem::OutsideFile { .. });
    assert!(said.contains("a-00003-of-00003.gguf"), "{said}");
    fs::remove_file(files.path(3)).unwrap();
    fs::create_dir(files.path(3)).unwrap();
    assert_problem!(files.refusal(1).1, Problem::NotAFile { .. });
}

#[test]
fn hostile_numbers_of_parts_and_tensors_are_refused() {
    let files = Files::three();
    let parts = u32::try_from(PARTS_MAX).unwrap() + 1;
    files.write(1, &part(1, parts));
    assert_problem!(files.refusal(1).1, Problem::Limit { what: "parts", .. });
    files.write(1, &announcing(1, 3, u32::try_from(TENSORS_MAX).unwrap() + 1));
    assert_problem!(files.refusal(1).1, Problem::Limit { .. });
    files.write(1, &part(1, u32::MAX));
    assert_problem!(files.refusal(1).1, Problem::Limit { .. });
    files.write(1, &part(1, 4));
    assert_problem!(files.refusal(1).1, Problem::SplitName { parts: 4 });
}

#[test]
fn names_of_parts_are_understood() {
    let name = SplitName::of("Q4/a-00002-of-00003.gguf").unwrap();
    assert_eq!((name.stem(), name.number(), name.parts()), ("Q4/a", 2, 3));
    assert_eq!(name.all()[2], "Q4/a-00003-of-00003.gguf");
    for other in [
        "a.gguf",
        "a-00000-of-00003.gguf",
        "a-00004-of-00003.gguf",
        "a-00001-of-00001.gguf",
        "a-00001-of-99999.gguf",
        "a-1-of-3.gguf",
        "a-+0001-of-00003.gguf",
        "a-00001-of-00003",
        "-of-.gguf",
        "",
    ] {
        assert_eq!(SplitName::of(other), None, "{other}");
    }
}
