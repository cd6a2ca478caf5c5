//! Recordings over time: runners and controllers that are killed, several controllers, and what is too old.

use std::time::Duration;

use controller::recording::RecordingSettings;
use store::Time;
use url::Url;

use crate::recordings::{HEADER, Recorder, event, in_folder, options, settings, until_joined};
use crate::stack::Stack;

/// Waits until nothing is at a place.
async fn until_gone(path: &std::path::Path) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while path.exists() {
        assert!(tokio::time::Instant::now() < deadline, "{} stays", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_killed_runner_had_sent_is_there_and_becomes_one_object() {
    let (stack, _folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..10).await;
    // Its pod is gone: nothing said that this was the last.
    recorder.end(&stack).await;
    assert_eq!(recorder.recording(&stack).await.text, recorder.whole);
    stack.store.runner_gone(recorder.runner, Time::now()).await.unwrap();
    stack.lifecycle.recordings().unwrap().settle(recorder.session);
    assert_eq!(until_joined(&stack, &recorder).await.text, recorder.whole);
    stack.stop().await;
}

#[tokio::test]
async fn two_controllers_join_the_same_recordings_and_nothing_is_lost() {
    let (stack, folder) = in_folder().await;
    let url = Url::from_directory_path(folder.path()).unwrap();
    let twin = stack.twin(options(settings(&url))).await;
    for round in 0..10 {
        let mut recorder = Recorder::start(&stack).await;
        recorder.record(&stack, 0..4).await;
        recorder.record(&twin, 4..8).await;
        // One is told that this was the last while the other finds the runner gone, and somebody reads all the time.
        let reading = async {
            for _ in 0..20 {
                assert_eq!(recorder.recording(&twin).await.text, recorder.whole, "round {round}");
            }
        };
        let last = async { assert!(recorder.send(&stack, "", true).await.status.is_success()) };
        twin.lifecycle.recordings().unwrap().settle(recorder.session);
        tokio::join!(last, reading);
        assert_eq!(until_joined(&twin, &recorder).await.text, recorder.whole);
    }
    twin.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn what_a_controller_left_half_joined_is_finished_by_another() {
    let (stack, folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..9).await;
    recorder.end(&stack).await;
    stack.store.runner_gone(recorder.runner, Time::now()).await.unwrap();
    let place = folder.path().join(recorder.session.to_string());
    // Killed when the object was there and some of the chunks deleted; what it was writing before is left, too.
    std::fs::write(place.join("recording.cast"), &recorder.whole).unwrap();
    std::fs::write(place.join("recording.cast#1"), "half").unwrap();
    for chunk in ["0000000001-0000000000.cast", "0000000001-0000000004.cast"] {
        std::fs::remove_file(place.join(chunk)).unwrap();
    }
    assert_eq!(recorder.recording(&stack).await.text, recorder.whole);
    stack.lifecycle.recordings().unwrap().settle(recorder.session);
    until_gone(&place.join("0000000001-0000000008.cast")).await;
    assert_eq!(recorder.recording(&stack).await.text, recorder.whole);
    stack.stop().await;
}

#[tokio::test]
async fn what_is_older_than_is_kept_is_deleted_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(folder.path()).unwrap();
    let quick = RecordingSettings { sweep_every: Duration::from_millis(50), ..settings(&url) };
    let stack = Stack::with(options(quick.clone())).await;
    let place = |recorder: &Recorder| folder.path().join(recorder.session.to_string());
    let age = |recorder: &Recorder, by: Duration| {
        for entry in std::fs::read_dir(place(recorder)).unwrap() {
            let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(std::time::SystemTime::now() - by).unwrap();
        }
    };
    let (week, hour) = (Duration::from_secs(8 * 24 * 3600), Duration::from_secs(3600));
    let mut old = Recorder::start(&stack).await;
    old.record(&stack, 0..3).await;
    old.end(&stack).await;
    age(&old, week);
    // Old, but more may come.
    let mut long = Recorder::start(&stack).await;
    long.record(&stack, 0..3).await;
    age(&long, week);
    // Over, and nobody was there to join it.
    let mut left = Recorder::start(&stack).await;
    left.record(&stack, 0..3).await;
    left.end(&stack).await;
    stack.store.runner_gone(left.runner, Time::now()).await.unwrap();
    age(&left, hour);
    // What another server keeps there, and what is nobody's, is not ours to join.
    let other = folder.path().join(session::SessionId::new().to_string());
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("0000000001-0000000000.cast"), HEADER).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not ours").unwrap();

    stack.lifecycle.recordings().unwrap().run();
    until_gone(&place(&old)).await;
    old.recording(&stack).await.problem("recording_not_found");
    assert_eq!(until_joined(&stack, &left).await.text, left.whole);
    assert_eq!(long.recording(&stack).await.text, long.whole);
    assert!(other.join("0000000001-0000000000.cast").exists() && folder.path().join("notes.txt").exists());
    assert_eq!(stack.metric("cliscale_recordings_swept_total").await, 1.0);
    long.put(&stack, &event("o", "more"), true).await;
    assert_eq!(until_joined(&stack, &long).await.text, long.whole);
    stack.stop().await;
}
