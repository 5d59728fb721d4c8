//! Connections that break, servers that know no ranges, and content that is not what it should be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tempfile::TempDir;

use super::*;

/// Some megabytes that differ from place to place.
fn weights() -> Vec<u8> {
    (0..3_000_000_u32).map(|index| (index % 251) as u8).collect()
}

/// Pulls from a server whose first answers for the weights are changed by `spoil`; what was asked for them.
#[track_caller]
fn pull_spoilt(spoil: impl Fn(usize, Reply, &Request, &[u8]) -> Reply + Send + Sync + 'static) -> Vec<Option<String>> {
    let published = Published::new(&weights());
    let path = published.weights_path();
    let asked_path = path.clone();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let reply = published.answer(request);
        if request.path != path {
            return reply;
        }
        spoil(
            count.fetch_add(1, Ordering::Relaxed),
            reply,
            request,
            &published.blobs[0],
        )
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    pull_into(&store, &puller(&[&server]), &server).0.unwrap();
    let asked = server.asked_for(&asked_path);
    asked
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect()
}

fn ranges(ranges: &[Option<&str>]) -> Vec<Option<String>> {
    ranges.iter().map(|range| range.map(str::to_owned)).collect()
}

#[test]
fn a_broken_connection_is_gone_on_from() {
    let asked = pull_spoilt(|count, reply, _, _| if count < 2 { reply.cut_after(1_000_000) } else { reply });
    assert_eq!(asked, ranges(&[None, Some("bytes=1000000-"), Some("bytes=2000000-")]));
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let asked = pull_spoilt(|count, _, _, whole| {
        let reply = Reply::ok(whole);
        if count == 0 { reply.cut_after(1_000_000) } else { reply }
    });
    assert_eq!(asked, ranges(&[None, Some("bytes=1000000-")]));
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let asked = pull_spoilt(|count, reply, _, _| if count < 2 { Reply::status(503) } else { reply });
    assert_eq!(asked, ranges(&[None, None, None]));
}

#[test]
fn attempts_that_bring_nothing_end() {
    let published = Published::new(&weights());
    let path = published.weights_path();
    let error = refused(move |request| {
        let reply = published.answer(request);
        if request.path == path {
            reply.cut_after(1)
        } else {
            reply
        }
    });
    assert_eq!(
        error,
        "HOST ended after 3 of 3000000 bytes: try again, what was fetched is kept"
    );
}

#[test]
fn what_was_fetched_is_kept_for_the_next_pull() {
    let published = Published::new(&weights());
    let path = published.weights_path();
    let asked_path = path.clone();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let reply = published.answer(request);
        match request.path == path {
            true if count.fetch_add(1, Ordering::Relaxed) == 0 => reply.cut_after(2_000_000),
            true if count.load(Ordering::Relaxed) < 5 => Reply::status(500),
            _ => reply,
        }
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    assert!(pull_into(&store, &puller(&[&server]), &server).0.is_err());
    let (result, reports) = pull_into(&store, &puller(&[&server]), &server);
    result.unwrap();
    let last = server.asked_for(&asked_path).pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=2000000-"));
    let began = Progress::File {
        digest: Digest::of(&weights()),
        total_bytes: 3_000_000,
        completed_bytes: 2_000_000,
    };
    assert_eq!(reports[1], began);
}

#[test]
fn other_content_is_deleted() {
    let published = Published::new(b"weights");
    let (path, digest) = (published.weights_path(), published.weights());
    let server = Server::start(move |request| {
        let reply = published.answer(request);
        if request.path == path {
            Reply::ok(b"wrights")
        } else {
            reply
        }
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let (result, _) = pull_into(&store, &puller(&[&server]), &server);
    let expected = format!("{digest} arrived with other content than its digest says, and was deleted: pull it again");
    assert_eq!(result.unwrap_err().to_string(), expected);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("blobs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!folder.path().join("manifests").exists());
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_read() {
    for body in [&b"weights and more"[..], b"weigh", b""] {
        let published = Published::new(b"weights");
        let path = published.weights_path();
        let error = refused(move |request| {
            if request.path == path {
                Reply::ok(body)
            } else {
                published.answer(request)
            }
        });
        let expected = format!(
            "a file that cannot be used: it has {} bytes, 7 were announced",
            body.len()
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_part_that_was_not_asked_for_is_refused() {
    for said in ["bytes 0-6/7", "bytes 2-6/7", "bytes 3-6/8", "bytes */7", "", "bytes 3"] {
        let published = Published::new(b"weights");
        let (path, count) = (published.weights_path(), AtomicUsize::new(0));
        let error = refused(move |request| {
            if request.path != path {
                return published.answer(request);
            }
            let whole = Reply::ok(b"weights");
            match count.fetch_add(1, Ordering::Relaxed) {
                0 => whole.cut_after(3),
                _ => Reply::part(b"weights", request).replacing("Content-Range", said),
            }
        });
        assert!(
            error.contains("a part of a file that cannot be used"),
            "{said}: {error}"
        );
    }
}

#[test]
fn a_server_that_goes_silent_is_given_up() {
    for begins in [true, false] {
        let published = Published::new(b"weights");
        let path = published.weights_path();
        let server = Server::start(move |request| {
            let reply = published.answer(request);
            match request.path == path {
                true if begins => reply.stalled_after(1),
                true => Reply::silence(),
                false => reply,
            }
        });
        let settings = Settings {
            hosts: Some(vec![server.address()]),
            patience: Patience {
                stall: Duration::from_millis(20),
                ..patience()
            },
            ..Settings::default()
        };
        let folder = TempDir::new().unwrap();
        let store = OwnStore::at(folder.path());
        let (result, _) = pull_into(&store, &Puller::new(&settings).unwrap(), &server);
        let error = result.unwrap_err();
        assert!(matches!(error, PullError::Stalled { .. }), "{error}");
    }
}

#[test]
fn a_pull_that_waits_for_a_server_can_be_stopped() {
    let published = Published::new(b"weights");
    let path = published.weights_path();
    let (waits, is_waiting) = mpsc::channel();
    let server = Server::start(move |request| {
        let reply = published.answer(request);
        if request.path != path {
            return reply;
        }
        waits.send(()).unwrap();
        reply.stalled_after(1)
    });
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let settings = Settings {
        hosts: Some(vec![server.address()]),
        patience: Patience {
            stall: Duration::from_secs(3600),
            ..patience()
        },
        ..Settings::default()
    };
    let puller = Puller::new(&settings).unwrap();
    let stopper = puller.stopper();
    let stopping = std::thread::spawn(move || {
        is_waiting.recv().unwrap();
        stopper.stop();
    });
    let (result, _) = pull_into(&store, &puller, &server);
    stopping.join().unwrap();
    let error = result.unwrap_err();
    assert!(matches!(error, PullError::Stopped), "{error}");
}
