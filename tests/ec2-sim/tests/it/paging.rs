//! Pages and their tokens.

use crate::bench::{A, Bench, all, first};

fn create_many(bench: &mut Bench, count: usize) -> Vec<String> {
    let mut made: Vec<String> = (0..count).map(|_| bench.create(A)).collect();
    made.sort();
    made
}

#[test]
fn pages_hold_every_interface_once() {
    let mut bench = Bench::instant();
    let made = create_many(&mut bench, 23);
    let question =
        "DescribeNetworkInterfaces Filter.1.Name=status Filter.1.Value.1=available MaxResults=5";
    let (mut seen, mut call, mut pages) = (Vec::new(), question.to_owned(), 0);
    loop {
        let body = bench.ask(&call).unwrap();
        let page: Vec<String> = all(&body, "networkInterfaceId")
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert!(page.len() <= 5);
        seen.extend(page);
        pages += 1;
        match first(&body, "nextToken") {
            Some(token) => call = format!("{question} NextToken={token}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (made, 5));
}

#[test]
fn rows_that_go_between_pages_cause_no_gaps() {
    let mut bench = Bench::instant();
    let made = create_many(&mut bench, 12);
    let question =
        "DescribeNetworkInterfaces Filter.1.Name=status Filter.1.Value.1=available MaxResults=5";
    let token = bench.get(question, "nextToken");
    for eni in &made[2..6] {
        bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}"));
    }
    let rest = bench.ask(&format!("{question} NextToken={token}")).unwrap();
    assert_eq!(
        all(&rest, "networkInterfaceId"),
        made[6..11].iter().map(String::as_str).collect::<Vec<_>>()
    );
}

#[test]
fn a_token_belongs_to_its_question() {
    let mut bench = Bench::instant();
    create_many(&mut bench, 12);
    let token = bench.get("DescribeNetworkInterfaces MaxResults=5", "nextToken");
    let refusal = |token: &str| format!("InvalidNextToken: The token '{token}' is invalid");
    for (call, token) in [
        (
            "DescribeNetworkInterfaces Filter.1.Name=status Filter.1.Value.1=available",
            token.as_str(),
        ),
        ("DescribeSubnets", token.as_str()),
        ("DescribeNetworkInterfaces", "nonsense"),
        ("DescribeNetworkInterfaces", "é"),
    ] {
        assert_eq!(
            bench.say(&format!("{call} MaxResults=5 NextToken={token}")),
            refusal(token),
            "{call}"
        );
    }
}

#[test]
fn the_size_of_a_page_has_limits() {
    let mut bench = Bench::instant();
    for (call, answer) in [
        (
            "DescribeNetworkInterfaces MaxResults=4",
            "InvalidParameterValue: Value ( 4 ) for parameter maxResults is invalid. Expecting a value greater than 5.",
        ),
        (
            "DescribeNetworkInterfaces MaxResults=1001",
            "InvalidParameterValue: Value ( 1001 ) for parameter maxResults is invalid. Expecting a value smaller than 1000.",
        ),
        ("DescribeNetworkInterfaces MaxResults=1000", "OK"),
        (
            "DescribeNetworkInterfaces MaxResults=5 NetworkInterfaceId.1=eni-0000dead",
            "InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0000dead' does not exist",
        ),
        (
            "DescribeSubnets MaxResults=5 SubnetId.1=subnet-0000000a",
            "InvalidParameterCombination: The parameter subnetIds cannot be used with the parameter maxResults",
        ),
        (
            "DescribeInstances MaxResults=5 InstanceId.1=i-00000001",
            "InvalidParameterCombination: The parameter instanceIds cannot be used with the parameter maxResults",
        ),
        (
            "DescribeInstanceTypes MaxResults=101",
            "InvalidParameterValue: Value ( 101 ) for parameter maxResults is invalid. Expecting a value smaller than 100.",
        ),
    ] {
        assert_eq!(bench.say(call), answer, "{call}");
    }
}
