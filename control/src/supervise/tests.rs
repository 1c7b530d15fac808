use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Scripts in place of both programs. Each writes its process id beside its configuration: that is its answer.
struct World {
    dir: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

/// Answers when it wrote its id and is neither gone nor a zombie.
fn by_file(socket: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(socket).ok()?.trim().parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    (!stat.rsplit_once(") ")?.1.starts_with('Z')).then_some(pid)
}

const RUNS: &str = "echo $$ > \"$1.pid\"; exec sleep 600";

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().expect("a folder"), said: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn part(&self, name: &str, script: &str) -> Part {
        let program = self.path(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("set");
        let output = Output::File(self.path(&format!("{name}.log")));
        let (config, socket) = (self.path(&format!("{name}.toml")), self.path(&format!("{name}.toml.pid")));
        Part { program, config, socket, output, answers: by_file, inside: None }
    }

    fn plan(&self, data_plane: &str, control: &str) -> Plan {
        let first = Duration::from_millis(20);
        let restart = Restart { first, longest: first * 4, steady: Duration::from_secs(60), failures: 2 };
        Plan {
            name: "m".to_owned(),
            data_plane: self.part("data_plane", data_plane),
            control: self.part("control", control),
            data_plane_restart: restart,
            control_restart: restart,
            adopt: false,
            all_end_with_parent: false,
        }
    }

    fn supervisor(&self, plan: Plan) -> Result<Supervisor, String> {
        let said = Arc::clone(&self.said);
        Supervisor::new(plan, move |line| said.lock().expect("no panic").push(line.to_owned()))
    }

    fn said(&self, text: &str) -> bool {
        self.said.lock().expect("no panic").iter().any(|line| line.contains(text))
    }
}

/// Turns until something is so: processes start and end when the system lets them.
fn until(supervisor: &mut Supervisor, what: &str, so: impl Fn(&Supervisor) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so(supervisor) {
        supervisor.turn(Instant::now()).expect("goes on");
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pids(supervisor: &Supervisor) -> [u32; 2] {
    [Which::DataPlane, Which::Control].map(|which| supervisor.pid(which).expect("runs"))
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[test]
fn a_control_daemon_that_dies_comes_back_and_its_data_plane_does_not_notice() {
    let world = World::new();
    let mut supervisor = world.supervisor(world.plan(RUNS, RUNS)).expect("begins");
    until(&mut supervisor, "both run", Supervisor::ready);
    let [data_plane, control] = pids(&supervisor);
    supervisor.kill(Which::Control);
    until(&mut supervisor, "it is noticed", |s| !s.ready());
    until(&mut supervisor, "both run again", Supervisor::ready);
    assert_eq!(supervisor.pid(Which::DataPlane), Some(data_plane));
    assert_ne!(supervisor.pid(Which::Control), Some(control));
    assert_eq!((supervisor.restarts(Which::DataPlane), supervisor.restarts(Which::Control)), (0, 1));
    assert!(world.said("m: the control daemon ended after") && world.said("signal: 9"), "{:?}", world.said);
    let both = pids(&supervisor);
    drop(supervisor);
    assert!(!both.into_iter().any(runs));
}

#[test]
fn with_its_data_plane_a_control_daemon_is_started_anew() {
    let world = World::new();
    let mut supervisor = world.supervisor(world.plan(RUNS, RUNS)).expect("begins");
    until(&mut supervisor, "both run", Supervisor::ready);
    let before = pids(&supervisor);
    supervisor.kill(Which::DataPlane);
    until(&mut supervisor, "it is noticed", |s| !s.ready());
    until(&mut supervisor, "both run again", Supervisor::ready);
    let after = pids(&supervisor);
    assert!(before[0] != after[0] && before[1] != after[1]);
    assert!(!before.into_iter().any(runs) && world.said("the control daemon is ended: the data plane"));
    // That was no failure of the control daemon.
    assert_eq!((supervisor.restarts(Which::DataPlane), supervisor.restarts(Which::Control)), (1, 0));
}

#[test]
fn a_data_plane_that_keeps_failing_is_given_up_and_its_words_are_told() {
    let world = World::new();
    let mut supervisor = world.supervisor(world.plan("echo 'no core 9' >&2; exit 3", RUNS)).expect("begins");
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        match supervisor.turn(Instant::now()) {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < deadline, "{:?}", world.said),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(error.contains("failed 3 times in a row") && error.contains("exit status: 3"), "{error}");
    assert!(world.said("no core 9") && world.said("again in 0.0 s"), "{:?}", world.said);
    assert_eq!(supervisor.pid(Which::Control), None, "it never had a data plane");
}

#[test]
fn a_control_daemon_is_never_given_up() {
    let world = World::new();
    let mut supervisor = world.supervisor(world.plan(RUNS, "exit 2")).expect("begins");
    until(&mut supervisor, "it fails and fails", |s| s.restarts(Which::Control) > 3);
    assert!(supervisor.pid(Which::DataPlane).is_some_and(runs));
}

/// The supervisor's end, however it comes, ends the control daemon and not the data plane; the next one says what it
/// finds.
#[test]
fn a_data_plane_outlives_its_supervisor_and_is_adopted_only_when_told() {
    let world = World::new();
    let plan = world.plan(RUNS, RUNS);
    let first = world.supervisor(plan.clone()).expect("begins");
    // A thread that ends stands for a process that is killed: the parent-death signal goes by threads.
    let [data_plane, control] = std::thread::spawn(|| {
        let mut first = first;
        until(&mut first, "both run", Supervisor::ready);
        let both = pids(&first);
        std::mem::forget(first);
        both
    })
    .join()
    .expect("no panic");
    let refused = world.supervisor(plan.clone()).err().expect("refused");
    assert!(refused.contains(&format!("process {data_plane}")) && refused.contains("--adopt"), "{refused}");
    let mut second = world.supervisor(Plan { adopt: true, ..plan.clone() }).expect("adopts");
    assert!(!runs(control) && runs(data_plane) && world.said("adopted"));
    until(&mut second, "both run", Supervisor::ready);
    assert_eq!(second.pid(Which::DataPlane), Some(data_plane));
    // It is watched, although it is nobody's child.
    second.kill(Which::DataPlane);
    until(&mut second, "it is noticed", |s| !s.ready());
    until(&mut second, "both run", Supervisor::ready);
    assert!(second.pid(Which::DataPlane).is_some_and(|pid| pid != data_plane));
    let [data_plane, control] = pids(&second);
    drop(second);
    assert!(!runs(data_plane) && !runs(control));
}

#[test]
fn pauses_double_up_to_the_longest() {
    let restart = Restart::default();
    let pauses: Vec<_> = (1..=9).map(|failures| restart.pause(failures).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(restart.pause(u32::MAX).as_secs(), 60);
}

#[test]
fn the_file_names_both_configurations() {
    let world = World::new();
    let write = |name: &str, text: &str| {
        std::fs::write(world.path(name), text).expect("written");
        world.path(name)
    };
    write("d.toml", "[control]\nsocket = \"run/d.sock\"\n[[worker]]\n");
    write("c.toml", "control_socket = \"c.sock\"\n");
    let file = write("m.toml", "data_plane = \"d.toml\"\ncontrol = \"c.toml\"\nrestart_s = 5\n");
    let files = MixFiles::load(&file).expect("sound");
    assert_eq!(files.data_plane, world.path("d.toml"));
    if let Ok(plan) = files.plan(true) {
        assert_eq!((plan.data_plane.socket, plan.control.socket), ("run/d.sock".into(), world.path("c.sock")));
        assert_eq!((plan.control_restart.first, plan.adopt), (Duration::from_secs(5), true));
    }
    for (text, word) in [
        ("data_plane = \"d.toml\"\ncontrol = \"c.toml\"\nretry = 1\n", "unknown field"),
        ("data_plane = \"d.toml\"\n", "missing field"),
        ("data_plane = \"d.toml\"\ncontrol = \"c.toml\"\nrestart_s = 0\n", "restart_s"),
    ] {
        let error = MixFiles::load(&write("x.toml", text)).expect_err(word);
        assert!(error.contains(word) && error.contains("x.toml"), "{error}");
    }
    assert!(MixFiles::load(&world.path("none.toml")).is_err());
}
