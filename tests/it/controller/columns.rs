//! What `kubectl get` and `kubectl describe` tell an operator who sees no logs. Needs root.

use std::collections::BTreeMap;

use super::{SUBNET_A, SUBNET_B, pool, rig::Rig, spec};

/// The cells of a table of kubectl's, by the row's first cell and the column's name.
fn cells(table: &str) -> BTreeMap<(String, String), String> {
    let mut cells = BTreeMap::new();
    for block in table.split("\n\n") {
        let mut lines = block.lines();
        let header = lines.next().unwrap_or_default();
        // A column begins where its name does.
        let mut starts: Vec<usize> = Vec::new();
        for (at, letter) in header.char_indices() {
            let begins = at == 0 || header[..at].ends_with("   ");
            if letter != ' ' && begins {
                starts.push(at);
            }
        }
        for line in lines {
            let cell = |number: usize| {
                let end = starts.get(number + 1).copied().unwrap_or(line.len());
                let text = line.get(starts[number]..end.min(line.len()));
                text.unwrap_or_default().trim().to_owned()
            };
            let name = cell(0);
            for (number, start) in starts.iter().enumerate() {
                let column = header[*start..].split("   ").next().unwrap_or_default();
                cells.insert((name.clone(), column.trim().to_owned()), cell(number));
            }
        }
    }
    cells
}

#[test]
fn kubectl_tells_what_is_attached_and_what_is_lacking() {
    Rig::new(2).run(async |rig| {
        // Node1 is in zone b; there is no member for node2.
        let member = pool::member(rig, SUBNET_B, "10.0.12.10");
        let _controller = rig.controller();
        pool::select(rig).await;
        pool::wish(rig).await;
        rig.wish("fast", &spec(&[SUBNET_A, SUBNET_B])).await;
        rig.until("all is attached that can be", |state| {
            let lent = state.status("slots").attached == 1;
            lent && state.status("fast").attached == 2
        })
        .await;
        rig.until("what is lacking is said", |state| {
            state.reason("slots") == "PoolExhausted"
        })
        .await;
        let table = rig.kubectl(&["get", "neni,nea,enipool", "-o", "wide"]);
        println!("{table}");
        let cells = cells(&table);
        let cell = |row: &str, column: &str| {
            let all = cells.iter();
            let mut found = all.filter(|((name, of), _)| name.contains(row) && of == column);
            found
                .next()
                .map(|(_, text)| text.clone())
                .unwrap_or_default()
        };
        let fast = "nodeeni.networking.k8s.aws/fast";
        assert_eq!(
            (cell(fast, "NODES"), cell(fast, "ATTACHED")),
            ("2".into(), "2".into())
        );
        let slots = "nodeeni.networking.k8s.aws/slots";
        assert_eq!(cell(slots, "STATUS"), "PoolExhausted");
        assert!(cell(slots, "MESSAGE").contains("web"), "{table}");
        let web = "enipool.networking.k8s.aws/web";
        let counts = ["MEMBERS", "FREE", "INUSE"].map(|column| cell(web, column));
        assert_eq!(counts, ["1", "0", "1"]);
        let record = "nodeeniattachment.networking.k8s.aws/slots-";
        assert_eq!(cell(record, "ENI"), member);
        assert_eq!(cell(record, "EC2"), "Attached");

        let told = rig.kubectl(&["describe", "neni", "slots"]);
        println!("{told}");
        assert!(
            told.contains("PoolExhausted") && told.contains("ENIAttached"),
            "{told}"
        );
    });
}
