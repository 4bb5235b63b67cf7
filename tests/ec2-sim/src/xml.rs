//! Writes answers: EC2's elements, sets of items, tags, and the frames around them.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::Timestamp;
use quick_xml::escape::escape;

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
///
/// Element names are our own words and need no escape; whatever stands between them is escaped.
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    fn new() -> Self {
        Self {
            text: r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
        }
    }

    /// The content of an answer, without the frame that names the action.
    pub(crate) fn fragment(content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self {
            text: String::with_capacity(1024),
        };
        content(&mut xml);
        xml.text
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
        xml.text
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
        xml.text
    }

    pub(crate) fn leaf(&mut self, name: &str, value: impl Display) {
        self.open(name);
        self.leaf_text(value);
        self.close(name);
    }

    /// The text of the element that is open.
    pub(crate) fn leaf_text(&mut self, value: impl Display) {
        self.text.push_str(&escape(value.to_string()));
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
        self.open(name);
        content(self);
        self.close(name);
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
        self.open(&format!("{name} xmlns=\"{namespace}\""));
        content(self);
        self.close(name);
    }

    fn raw(&mut self, fragment: &str) {
        self.text.push_str(fragment);
    }

    fn open(&mut self, tag: &str) {
        self.text.push('<');
        self.text.push_str(tag);
        self.text.push('>');
    }

    fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }
}
