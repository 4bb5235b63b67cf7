//! What the handbook tells its readers to do, for tests that do it.

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/eniway/README.md");

/// The text below a heading, up to the next of its kind.
pub(super) fn section(heading: &str) -> String {
    let handbook = std::fs::read_to_string(PATH).unwrap();
    let begin = format!("\n## {heading}\n");
    let (_, section) = handbook.split_once(&begin).expect("the handbook has it");
    let end = section.find("\n## ").unwrap_or(section.len());
    section[..end].to_owned()
}

/// The examples of a text that are in a language, such as `sh`, in order.
pub(super) fn examples<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let after = text.split(&begin).skip(1);
    after
        .map(|after| after.split_once("```").expect("it has an end").0)
        .collect()
}
