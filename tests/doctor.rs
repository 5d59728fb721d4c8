//! `tandem doctor gpu`: its lines, its JSON and its status say the same, whatever cards this machine has.

use serde_json::Value;

use crate::support::command;

#[test]
fn the_status_is_0_only_where_a_card_can_be_used_and_else_it_says_what_to_do() {
    let run = |arguments: &[&str]| command().args(arguments).output().expect("the binary starts");
    let (lines, fields) = (run(&["doctor", "gpu"]), run(&["doctor", "gpu", "--json"]));
    let page = String::from_utf8(lines.stdout).expect("text");
    let fields_text = String::from_utf8(fields.stdout).expect("text");
    let diagnosis: Value = serde_json::from_str(&fields_text).unwrap_or_else(|error| panic!("{error}: {fields_text}"));
    let is_usable = diagnosis["is_usable"].as_bool().expect("a boolean");
    for status in [lines.status, fields.status] {
        assert_eq!(status.code(), Some(i32::from(!is_usable)), "{page}");
    }
    assert_eq!(page.contains("--devices cuda:"), is_usable, "{page}");
    let missing = diagnosis["missing"].as_array().expect("a list");
    assert!(is_usable || !missing.is_empty(), "{fields_text}");
    for lack in missing {
        let to_do = lack["to_do"].as_str().expect("text");
        assert!(page.contains(to_do), "{to_do:?} is not in\n{page}");
    }
    assert!(diagnosis["flavour"] == "cuda" || page.contains("CPU flavour"), "{page}");
}

#[test]
fn a_doctor_without_a_patient_is_refused() {
    let output = command().arg("doctor").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gpu"));
}
