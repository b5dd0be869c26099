//! Pieces are made and read alike, and nothing that is handed in does harm.

use super::*;
use crate::netfilter::rule::Match;

const RULES: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:LAST - [0:0]
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack ! --ctstate NEW,RELATED,ESTABLISHED -j RETURN
-A INPUT -p tcp -m state --state NEW -m tcp --sport 1:1023 ! --dport 80 -j REJECT --reject-with tcp-reset
-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m tcp --tcp-flags URG NONE -j REJECT --reject-with icmp-host-prohibited
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p icmp -m icmp ! --icmp-type 3/1 -j ACCEPT
-A INPUT -p udp -m multiport --sports 53,1000:2000 -m comment --comment \"two words\"
-A INPUT -m mark --mark 0x4000/0xff00 -g LAST
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker+ ! -o docker0 -m statistic --mode random --probability 0.25000000000 -j MARK --set-xmark 0x1/0xff
-A DOCKER -s 10.0.0.0/8 -d 172.17.0.2/32 ! -i docker0 -o docker0 ! -p udp -j ACCEPT
-A DOCKER -j RETURN
-A LAST -m limit --limit 5/min -j ACCEPT
-A LAST -m limit --limit 2/sec --limit-burst 100 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -m addrtype --src-type UNICAST ! --dst-type LOCAL -j DNAT --to-destination 10.0.0.1-10.0.0.9:1000-2000
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -j SNAT --to-source 1.2.3.4
COMMIT
";

fn tables(text: &str) -> Tables {
    let mut tables = Tables::default();
    tables.restore(text, false).unwrap();
    tables
}

#[test]
fn a_piece_is_read_as_it_was_made() {
    let mut tables = tables(RULES);
    for name in [TableName::Filter, TableName::Nat] {
        let (info, piece) = tables.piece(name, false);
        assert_eq!(info.entries as usize, tables.entries(name));
        tables.replace(name, false, &info, &piece).unwrap();
        assert_eq!(tables.piece(name, false), (info, piece));
    }
    assert_eq!(tables.save(false), RULES);
}

#[test]
fn a_piece_of_ipv6_is_read_as_it_was_made() {
    let rules = RULES
        .replace(
            "-s 10.0.0.0/8 -d 172.17.0.2/32",
            "-s fd00::/8 -d fd00::1/128",
        )
        .replace("-s 172.17.0.0/16", "-s fd00::/65")
        .replace("10.0.0.1-10.0.0.9:1000-2000", "[fd00::1-fd00::9]:1000-2000")
        .replace("1.2.3.4", "fd00::2")
        .replace("icmp-host-prohibited", "icmp6-no-route")
        .replace("-p icmp -m icmp", "-p ipv6-icmp -m icmp6")
        .replace("--icmp-type", "--icmpv6-type");
    let rules = rules.replace("[fd00::1-fd00::9]", "[fd00::1]");
    let mut tables = tables(&rules);
    for name in [TableName::Filter, TableName::Nat] {
        let (info, piece) = tables.piece(name, true);
        tables.replace(name, true, &info, &piece).unwrap();
    }
    assert_eq!(tables.save(false), rules);
}

/// Sizes and offsets that iptables 1.8.9 and Linux 6.18 showed for the same rules.
#[test]
fn a_piece_has_the_layout_of_linux() {
    let mut tables = tables(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
         -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    );
    let (info, piece) = tables.piece(TableName::Filter, false);
    assert_eq!((info.hooks, info.entries, info.size), (0xe, 7, 0x488));
    assert_eq!(info.begins[1..4], [0, 0x98, 0x130]);
    assert_eq!(info.policies, [u32::MAX, 0, 0x98, 0x130, u32::MAX]);
    let rule = &piece[0x130 + 0x98 + 0xb0..];
    assert_eq!(rule[..12], [0, 0, 0, 0, 172, 17, 0, 2, 0, 0, 0, 0]);
    assert_eq!(rule[80..92], [6, 0, 0, 1, 0, 0, 0, 0, 0xa0, 0, 0xc8, 0]);
    assert_eq!(rule[112..118], [0x30, 0, b't', b'c', b'p', 0]);
    assert_eq!(rule[144..152], [0, 0, 0xff, 0xff, 80, 0, 80, 0]);
    let (info, _) = tables.piece(TableName::Nat, false);
    assert_eq!((info.hooks, info.entries, info.size), (0x1b, 5, 0x310));
}

#[test]
fn counters_stay_with_their_rules() {
    let mut tables = tables(RULES);
    let count = tables.entries(TableName::Filter);
    let ones: Vec<Counters> = (0..count as u64).map(|at| (at, 10 * at)).collect();
    tables.add_counters(TableName::Filter, &ones).unwrap();
    assert_eq!(
        tables.add_counters(TableName::Filter, &ones[1..]),
        Err(Errno::EINVAL)
    );
    let (info, piece) = tables.piece(TableName::Filter, false);
    let old = tables
        .replace(TableName::Filter, false, &info, &piece)
        .unwrap();
    assert_eq!((old[0], old[1], old[2]), ((0, 0), (1, 10), (2, 20)));
    // A table that was set has counted nothing.
    let old = tables
        .replace(TableName::Filter, false, &info, &piece)
        .unwrap();
    assert!(old.iter().all(|one| *one == (0, 0)));
}

#[test]
fn loops_and_targets_out_of_place_are_refused() {
    let replace = |text: &str, name| {
        let mut made = tables(text);
        let (info, piece) = made.piece(name, false);
        made.replace(name, false, &info, &piece).err()
    };
    let head = "*filter\n:INPUT ACCEPT\n:A -\n:B -\n-A INPUT -j A\n-A A -j B\n";
    let filter = TableName::Filter;
    assert_eq!(replace(&format!("{head}COMMIT\n"), filter), None);
    assert_eq!(
        replace(&format!("{head}-A B -j A\nCOMMIT\n"), filter),
        Some(Errno::ELOOP)
    );
    let masquerade = "*nat\n-A INPUT -j MASQUERADE\nCOMMIT\n";
    assert_eq!(replace(masquerade, TableName::Nat), Some(Errno::EINVAL));
    assert_eq!(best_revision("recent", 0, false, false), Err(Errno::ENOENT));
    assert_eq!(
        best_revision("conntrack", 9, false, false),
        Err(Errno::EPROTONOSUPPORT)
    );
    assert_eq!(best_revision("DNAT", 2, true, true), Ok(2));
}

/// Every byte changed, every length cut: an error or another table, and never more.
#[test]
fn broken_pieces_do_no_harm() {
    let mut made = tables(RULES);
    for name in [TableName::Filter, TableName::Nat] {
        let (info, piece) = made.piece(name, false);
        for at in 0..piece.len() {
            for value in [0, 1, 0x7f, 0xff, piece[at] ^ 8] {
                let mut broken = piece.clone();
                broken[at] = value;
                let _ = made.replace(name, false, &info, &broken);
            }
            let cut = Info {
                size: at as u32,
                ..info.clone()
            };
            assert!(made.replace(name, false, &cut, &piece[..at]).is_err());
        }
    }
}

#[test]
fn a_module_that_asks_nothing_is_kept() {
    let rule = Rule {
        matches: vec![Match::Module("tcp")],
        ..Rule::parse("-p tcp -j ACCEPT").unwrap()
    };
    let mut tables = Tables::default();
    tables.filter.chain_mut("INPUT").unwrap().rules.push(rule);
    tables.changed();
    let (info, piece) = tables.piece(TableName::Filter, false);
    tables
        .replace(TableName::Filter, false, &info, &piece)
        .unwrap();
    assert!(
        tables
            .save(false)
            .contains("-A INPUT -p tcp -m tcp -j ACCEPT\n")
    );
}
