use super::*;
use crate::config::Config;
use proptest::prelude::*;

const REST: &str = "[control]\nsocket = \"s\"\n[[worker]]\nlisten = \"192.0.2.1:4001\"\n";

fn parse(port: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(&format!("{port}\n{REST}")).map_err(|problems| problems.0)
}

fn keys(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err("is wrong");
    assert!(problems.iter().all(|problem| !problem.allowed.is_empty() && !problem.mend.is_empty()), "{problems:?}");
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn a_udp_socket_is_what_there_is_without_a_word() {
    for text in ["", "[port]", "[port]\nkind = \"udp\""] {
        let config = parse(text).expect("is right");
        assert_eq!((config.port, config.capture.is_none(), config.workers[0].queue), (PortConfig::Udp, true, 0));
    }
}

#[test]
fn an_interface_has_defaults_and_everything_can_be_said() {
    let config = parse("[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"").expect("is right");
    let PortConfig::AfXdp(port) = &config.port else { panic!("{:?}", config.port) };
    assert_eq!(*port, AfXdpConfig { payload: PAYLOAD, ..AfXdpConfig::new("eth0") });
    assert_eq!(port.next_hop, NextHop::Resolve);
    assert!(config.describe().contains("port          af_xdp"));

    let text = "[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"\nmode = \"driver\"\nzero_copy = \"require\"\n\
                huge_pages = \"off\"\nvlan = 12\nvlan_interface = \"eth0.12\"\nother_queues = \"steered\"\n\
                next_hop = \"02:00:00:00:00:01\"\nchecksum = \"offload\"\nlaunch_time = true";
    let PortConfig::AfXdp(port) = parse(text).expect("is right").port else { panic!("another port") };
    assert_eq!((port.mode, port.zero_copy, port.huge_pages), (Mode::Driver, ZeroCopy::Require, HugePages::Off));
    assert_eq!((port.vlan, port.vlan_interface.as_deref()), (Some(12), Some("eth0.12")));
    assert_eq!(port.next_hop, NextHop::Fixed(Mac([2, 0, 0, 0, 0, 1])));
    assert_eq!((port.other_queues, port.checksum, port.launch_time), (OtherQueues::Steered, Checksum::Offload, true));
}

#[test]
fn what_is_wrong_is_told_by_its_key() {
    assert_eq!(keys("[port]\nkind = \"tap\""), ["port.kind"]);
    assert_eq!(keys("[port]\ninterface = \"eth0\""), ["port.interface"], "udp has none");
    assert_eq!(keys("[port]\nkind = \"af_xdp\""), ["port.interface"]);
    let af_xdp = "[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"\n";
    for line in [
        "mode = \"native\"",
        "zero_copy = true",
        "vlan = 0",
        "vlan = 4095",
        "next_hop = \"01:00:5e:00:00:01\"",
        "next_hop = \"router\"",
        "checksum = \"none\"",
        "launch_time = 1",
        "device = \"net_null0\"",
    ] {
        let key = line.split(' ').next().expect("a key");
        assert_eq!(keys(&format!("{af_xdp}{line}")), [format!("port.{key}")], "{line}");
    }
    assert_eq!(keys("port = 3"), ["port"]);
}

#[test]
fn a_build_without_dpdk_says_so_and_one_with_it_reads_the_device() {
    let text = "[port]\nkind = \"dpdk\"\ndevice = \"net_null0,size=512\"\nplain_memory_mib = 128\nprefix_len = 16\n\
                gateway = \"192.0.2.254\"\neal = [\"--log-level=debug\"]";
    match parse(text) {
        Ok(config) if cfg!(feature = "dpdk") => {
            let PortConfig::Dpdk(port) = config.port else { panic!("another port") };
            assert_eq!((port.device.as_str(), port.plain_mib, port.prefix_len), ("net_null0,size=512", Some(128), 16));
            assert_eq!((port.gateway, port.offload, port.eal.len()), ("192.0.2.254".parse().ok(), true, 1));
        }
        Err(problems) if !cfg!(feature = "dpdk") => {
            assert_eq!(problems.len(), 1);
            assert!(problems[0].mend.contains("--features dpdk"), "{:?}", problems[0]);
        }
        other => panic!("{other:?}"),
    }
    let more = keys("[port]\nkind = \"dpdk\"\neal = \"-d\"\ngateway = \"here\"");
    for key in ["port.device", "port.eal", "port.gateway"] {
        assert!(more.iter().any(|k| k == key), "{key}: {more:?}");
    }
}

#[test]
fn each_worker_has_a_queue_of_its_own() {
    let two = |first: &str, second: &str| {
        format!(
            "[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"\n[control]\nsocket = \"s\"\n[[worker]]\n\
             listen = \"192.0.2.1:4001\"\n{first}\n[[worker]]\nlisten = \"192.0.2.1:4002\"\n{second}\n"
        )
    };
    let queues = |text: &str| {
        Config::parse(text).map(|config| config.workers.iter().map(|worker| worker.queue).collect::<Vec<_>>())
    };
    assert_eq!(queues(&two("", "")), Ok(vec![0, 1]));
    assert_eq!(queues(&two("queue = 3", "queue = 0")), Ok(vec![3, 0]));
    for (first, second) in [("queue = 1", ""), ("queue = -1", ""), ("queue = 1024", ""), ("queue = \"0\"", "")] {
        assert!(queues(&two(first, second)).is_err(), "{first} {second}");
    }
    let udp = parse("").expect("is right");
    assert_eq!(udp.workers.len(), 1);
    assert!(Config::parse(&format!("{REST}queue = 0\n")).is_err(), "a UDP socket has no queue");
}

#[test]
fn a_port_that_writes_addresses_needs_one() {
    let of = |first: &str, second: &str| {
        let text = format!(
            "[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"\n[control]\nsocket = \"s\"\n[[worker]]\nlisten = \"{first}\"\n\
             [[worker]]\nlisten = \"{second}\"\n"
        );
        Config::parse(&text).map_err(|problems| problems.0.into_iter().map(|p| p.key).collect::<Vec<_>>())
    };
    assert!(of("192.0.2.1:0", "192.0.2.1:4002").is_ok(), "a port of the kernel's choice");
    assert_eq!(of("0.0.0.0:1", "0.0.0.0:2"), Err(vec!["worker[0].listen".into(), "worker[1].listen".into()]));
    assert_eq!(of("192.0.2.1:1", "192.0.2.2:2"), Err(vec!["worker[1].listen".into()]));
}

#[test]
fn a_capture_is_asked_for_and_bounded() {
    let config = parse("[capture]\nfile = \"m1.pcapng\"\npackets = 10").expect("is right");
    let capture = config.capture.clone().expect("asked for");
    assert_eq!((capture.limits.packets, capture.limits.bytes), (10, capture::Limits::default().bytes));
    assert!(config.describe().contains("dangerous"));
    assert_eq!(keys("[capture]"), ["capture.file"]);
    assert_eq!(keys("[capture]\nfile = \"f\"\npackets = 0\nbytes = 1"), ["capture.bytes", "capture.packets"]);
}

#[test]
fn only_lab_builds_have_faults() {
    let text = "[fault]\nseed = 7\ndirection = \"receive\"\nloss = 0.1\ndelay = 1";
    #[cfg(feature = "lab")]
    {
        let fault = parse(text).expect("is right").fault.expect("asked for");
        assert_eq!((fault.seed, fault.receive.loss, fault.receive.delay), (7, 0.1, 1.0));
        assert_eq!(fault.transmit, Faults::NONE);
        assert_eq!(keys("[fault]\nloss = 1.5"), ["fault.loss"]);
        assert_eq!(keys("[fault]\nloss = nan"), ["fault.loss"]);
    }
    #[cfg(not(feature = "lab"))]
    assert_eq!(keys(text), ["fault"]);
}

proptest! {
    #[test]
    fn any_values_are_read_or_told(
        key in "kind|interface|mode|zero_copy|vlan|next_hop|device|gateway|eal|mtu|plain_memory_mib",
        value in "0|[1-9][0-9]{0,17}|\"[ -!#-\\[\\]-~]{0,40}\"|true|-1|nan|\\[[0-9]?\\]",
        kind in "udp|af_xdp|dpdk",
    ) {
        let kind = if key == "kind" { String::new() } else { format!("kind = \"{kind}\"\n") };
        if let Err(problems) = parse(&format!("[port]\n{kind}{key} = {value}")) {
            prop_assert!(problems.iter().all(|problem| problem.key.starts_with("port.") || problem.key.starts_with("worker")));
        }
    }
}
