//! ENA queues: chosen only where the type allows it, and as many as it has.

use crate::bench::{A, Bench, I, QUEUES, attach};

#[test]
fn their_number_is_chosen_where_the_type_allows_it() {
    let mut bench = Bench::instant();
    let (one, other) = (bench.create(A), bench.create(A));
    let with =
        |eni: &str, instance, count| format!("{} EnaQueueCount={count}", attach(eni, instance, 1));
    let refused = bench.say(&with(&one, I, 1));
    assert_eq!(
        refused,
        "InvalidParameterCombination: The instance type 't3.medium' does not support specifying an \
         ENA queue count."
    );
    for count in [0, 3] {
        let refused = bench.say(&with(&one, QUEUES, count));
        assert!(refused.starts_with("InvalidParameterValue"), "{refused}");
    }
    let tie = bench.get(&with(&one, QUEUES, 1), "attachmentId");
    let seen = format!("DescribeNetworkInterfaces NetworkInterfaceId.1={one}");
    assert_eq!(bench.get(&seen, "enaQueueCount"), "1");
    let change = format!("ModifyNetworkInterfaceAttribute NetworkInterfaceId={one}");
    let set = |words: &str| format!("{change} Attachment.AttachmentId={tie} {words}");
    assert_eq!(bench.say(&set("Attachment.EnaQueueCount=2")), "OK");
    assert_eq!(bench.get(&seen, "enaQueueCount"), "2");
    let both = set("Attachment.EnaQueueCount=2 Attachment.DeleteOnTermination=true");
    assert!(bench.say(&both).starts_with("InvalidParameterCombination"));
    assert_eq!(
        bench.say(&set("Attachment.DefaultEnaQueueCount=true")),
        "OK"
    );
    assert!(!bench.ask(&seen).unwrap().contains("enaQueueCount"));
    let unknown = format!("{change} Attachment.EnaQueueCount=2");
    assert!(bench.say(&unknown).starts_with("MissingParameter"));
    assert_eq!(bench.say(&attach(&other, QUEUES, 2)), "OK");
}
