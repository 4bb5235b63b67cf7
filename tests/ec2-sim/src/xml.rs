//! Writes answers: EC2's elements, sets of items, tags, and the frames around them.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use crate::error::ApiError;

const EC2: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Which service's frames an answer wears; both listen on one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Sts,
}

/// An XML document that is being written.
pub(crate) struct Xml {
    writer: Writer<Vec<u8>>,
}

impl Xml {
    fn new() -> Self {
        let mut xml = Self {
            writer: Writer::new(Vec::with_capacity(1024)),
        };
        xml.write(Event::Decl(quick_xml::events::BytesDecl::new(
            "1.0",
            Some("UTF-8"),
            None,
        )));
        xml
    }

    /// The content of an answer, without the frame that names the action.
    pub(crate) fn fragment(content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self {
            writer: Writer::new(Vec::with_capacity(1024)),
        };
        content(&mut xml);
        xml.finish()
    }

    /// The document of an answer to `action`.
    pub(crate) fn answer(
        service: Service,
        action: &str,
        request_id: &str,
        content: &str,
    ) -> String {
        let mut xml = Self::new();
        let name = format!("{action}Response");
        match service {
            Service::Ec2 => xml.framed(&name, EC2, |xml| {
                xml.leaf("requestId", request_id);
                xml.raw(content);
            }),
            Service::Sts => xml.framed(&name, STS, |xml| {
                xml.node(&format!("{action}Result"), |xml| xml.raw(content));
                xml.node("ResponseMetadata", |xml| xml.leaf("RequestId", request_id));
            }),
        }
        xml.finish()
    }

    /// The document of a refusal.
    pub(crate) fn refusal(service: Service, error: &ApiError, request_id: &str) -> String {
        let mut xml = Self::new();
        match service {
            Service::Ec2 => xml.node("Response", |xml| {
                xml.node("Errors", |xml| {
                    xml.node("Error", |xml| {
                        xml.leaf("Code", &error.code);
                        xml.leaf("Message", &error.message);
                    });
                });
                xml.leaf("RequestID", request_id);
            }),
            Service::Sts => xml.framed("ErrorResponse", STS, |xml| {
                xml.node("Error", |xml| {
                    xml.leaf("Type", "Sender");
                    xml.leaf("Code", &error.code);
                    xml.leaf("Message", &error.message);
                });
                xml.leaf("RequestId", request_id);
            }),
        }
        xml.finish()
    }

    pub(crate) fn leaf(&mut self, name: &str, value: impl Display) {
        let text = value.to_string();
        self.write(Event::Start(BytesStart::new(name)));
        self.write(Event::Text(BytesText::new(&text)));
        self.write(Event::End(BytesEnd::new(name)));
    }

    /// The text of the element that is open.
    pub(crate) fn leaf_text(&mut self, value: impl Display) {
        self.write(Event::Text(BytesText::new(&value.to_string())));
    }

    /// A moment, in whole seconds as EC2 tells it.
    pub(crate) fn time(&mut self, name: &str, at: Timestamp) {
        self.leaf(name, at.strftime("%Y-%m-%dT%H:%M:%S.000Z"));
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.leaf(name, value);
        }
    }

    pub(crate) fn node(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.write(Event::Start(BytesStart::new(name)));
        content(self);
        self.write(Event::End(BytesEnd::new(name)));
    }

    /// `<name><item>…</item>…</name>`.
    pub(crate) fn set<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.node(name, |xml| {
            for each in items {
                xml.node("item", |xml| item(xml, each));
            }
        });
    }

    pub(crate) fn tags(&mut self, tags: &BTreeMap<String, String>) {
        self.tags_as("tagSet", tags);
    }

    pub(crate) fn tags_as(&mut self, name: &str, tags: &BTreeMap<String, String>) {
        self.set(name, tags, |xml, (key, value)| {
            xml.leaf("key", key);
            xml.leaf("value", value);
        });
    }

    fn framed(&mut self, name: &str, namespace: &str, content: impl FnOnce(&mut Self)) {
        let mut start = BytesStart::new(name);
        start.push_attribute(("xmlns", namespace));
        self.write(Event::Start(start));
        content(self);
        self.write(Event::End(BytesEnd::new(name)));
    }

    fn raw(&mut self, fragment: &str) {
        self.write(Event::Text(BytesText::from_escaped(fragment)));
    }

    fn write(&mut self, event: Event<'_>) {
        self.writer
            .write_event(event)
            .expect("memory takes every byte");
    }

    fn finish(self) -> String {
        String::from_utf8(self.writer.into_inner()).expect("only text was written")
    }
}
