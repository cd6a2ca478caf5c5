//! The program in a container that it has to itself, brought there by a copy of its own.

mod rig;

use std::process::Command;

use rig::{Rig, SOON, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_program_gives_commands_the_containers_environment() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "\"$0\" --install-to {folder} || exit; \
         GIVEN=yes EMAIL=a@b KUBERNETES_SERVICE_HOST=x PATH=/opt/lang/bin:$PATH exec {folder}/cliscale-runner \"$@\"",
        folder = folder.path().display()
    );
    let through = vec!["sh".to_owned(), "-c".to_owned(), script];
    let rig = Rig::with(Setup { through, flags: vec!["--container".to_owned()], ..Setup::default() }).await;
    let command = "echo \"<$GIVEN $EMAIL $LOGNAME> <${NPM_CONFIG_PREFIX#$HOME/}> <${PATH#$HOME}>\"; env | grep -cE \
                   'KUBERNETES|CLISCALE_(BOOT|CONTROLLER|LOG|CONTAINER)'";
    rig.assign(rig.spec(command)).await;
    rig.ended().await;
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    let user = std::env::var("USER").ok();
    let user = user.or_else(|| nix::unistd::User::from_uid(nix::unistd::getuid()).ok()?.map(|user| user.name)).unwrap();
    assert!(late.has(&format!("<yes a@b {user}> <.local> </.local/bin:/opt/lang/bin:")), "{}", late.text());
    assert!(late.has(">\r\n0\r\n"), "{}", late.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elsewhere_commands_get_nothing_of_the_machines_environment() {
    let through = ["env", "GIVEN=yes", "EMAIL=a@b"].map(str::to_owned).to_vec();
    let rig = Rig::with(Setup { through, ..Setup::default() }).await;
    rig.assign(rig.spec("echo \"<$GIVEN $EMAIL $NPM_CONFIG_PREFIX>\"; ls -A \"$HOME\"")).await;
    rig.ended().await;
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    assert!(late.has("<  >\r\n"), "{}", late.text());
    assert!(!late.has(".profile"), "a home that may be a person's own is left alone: {}", late.text());
}

#[test]
fn a_program_that_cannot_be_put_there_says_where_and_ends_so() {
    let run = Command::new(env!("CARGO_BIN_EXE_cliscale-runner")).args(["--install-to", "/no/such"]).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(69));
    assert!(said.starts_with("cliscale-runner: /no/such/cliscale-runner cannot be written: "), "{said}");
}
