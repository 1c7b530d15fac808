use super::*;
use drover_wire::control::{BootId, List, WorkerInfo};
use rustix::net::{accept, bind, listen};
use std::thread;

/// Listens at a fresh path and answers each request of one connection with what `answer` makes of it: (id, reply) pairs.
fn serve(
    answer: impl Fn(u32, Request) -> Vec<(u32, OwnedReply)> + Send + 'static,
) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<()>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&fd, &SocketAddrUnix::new(&path).expect("short")).expect("bound");
    listen(&fd, 1).expect("listens");
    let server = thread::spawn(move || {
        let peer = accept(&fd).expect("a connection");
        let mut bytes = vec![0; MAX_MESSAGE];
        while let Ok((n @ 1.., _)) = recv(&peer, &mut bytes[..], RecvFlags::empty()) {
            let (id, request) = Request::decode(&bytes[..n]).expect("a request");
            for (id, reply) in answer(id, request) {
                let mut out = vec![0; MAX_MESSAGE];
                let reply = match &reply {
                    OwnedReply::Done => Reply::Done,
                    OwnedReply::Refused { code, text } => Reply::Refused { code: *code, text },
                    OwnedReply::Welcome(welcome) => Reply::Welcome((**welcome).clone()),
                    OwnedReply::Report(json) => Reply::Report(json.as_bytes()),
                };
                let n = reply.encode(id, &mut out).expect("fits");
                let _ = send(&peer, &out[..n], SendFlags::NOSIGNAL);
            }
        }
    });
    (dir, path, server)
}

fn welcome() -> OwnedReply {
    OwnedReply::Welcome(Box::new(Welcome {
        boot: BootId([7; 16]),
        cell: 256,
        now_ns: 9,
        lab: true,
        ends: false,
        workers: List::from_slice(&[WorkerInfo::default()]).expect("one"),
    }))
}

#[test]
fn asks_and_is_answered() {
    let (_dir, path, server) = serve(|id, request| {
        let page =
            |next: &str, link: u32| format!("{{\"next\":{next},\"links\":[{{\"link\":{link},\"received\":5}}]}}");
        let reply = match request {
            Request::Hello => welcome(),
            Request::QueryStatus => OwnedReply::Report(
                "{\"cell\":256,\"new\":1,\"workers\":[{\"drops\":{\"a\":2}},{\"drops\":{\"a\":1,\"b\":0}}]}".into(),
            ),
            Request::QueryLinks { from: 0 } => OwnedReply::Report(page("8", 3)),
            Request::QueryLinks { .. } => OwnedReply::Report(page("null", 8)),
            Request::RemoveLink { .. } => OwnedReply::Done,
            _ => OwnedReply::Refused { code: Refusal::NoRoom, text: "full; raise [limits]".into() },
        };
        vec![(id, reply)]
    });
    let mut socket = ControlSocket::connect(&path).expect("listens");
    assert_eq!(socket.hello().expect("welcome").boot, BootId([7; 16]));
    let status = socket.status().expect("a status");
    assert_eq!((status.cell, status.drops()), (256, [("a".to_owned(), 3)].into()));
    let links: Vec<u32> = socket.links_json().expect("two pages").iter().map(|l| l.link).collect();
    assert_eq!(links, [3, 8]);
    let boot = BootId([7; 16]);
    socket.done("link x", &Request::RemoveLink { boot, link: 1 }).expect("done");
    let error = socket.done("end 4", &Request::RemoveEnd { boot, end: 4 }).expect_err("refused").to_string();
    assert!(
        error.contains("end 4") && error.contains("raise [limits]") && error.contains(path.to_str().expect("text"))
    );
    drop(socket);
    server.join().expect("the server ends");
}

#[test]
fn late_replies_are_passed_over_and_foreign_ones_refused() {
    let (_dir, path, server) = serve(|id, request| match request {
        // Nothing in time; then both at once.
        Request::QueryStatus => vec![],
        Request::Hello => vec![(id.wrapping_sub(1), OwnedReply::Report("{}".into())), (id, welcome())],
        _ => vec![(id.wrapping_add(1), OwnedReply::Done)],
    });
    let mut socket = ControlSocket::connect(&path).expect("listens");
    socket.set_timeout(Duration::from_millis(20)).expect("set");
    assert!(matches!(socket.status().expect_err("late").fault, Fault::Timeout(_)));
    socket.set_timeout(TIMEOUT).expect("set");
    socket.hello().expect("passes over the late one");
    let remove = Request::RemoveLink { boot: BootId::default(), link: 1 };
    assert!(matches!(socket.done("x", &remove).expect_err("foreign").fault, Fault::Unexpected(_)));
    drop(socket);
    server.join().expect("the server ends");
}

#[test]
fn nobody_listens() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("none.sock");
    let error = ControlSocket::connect(&path).err().expect("nobody").to_string();
    assert!(error.contains("none.sock") && error.contains("is the data plane running"), "{error}");
    let long = dir.path().join("x".repeat(200));
    assert!(ControlSocket::connect(&long).err().expect("long").to_string().contains("shorter"));
}
