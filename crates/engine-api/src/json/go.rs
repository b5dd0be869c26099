//! Reads a document as Go does: names of fields in any case, `null` for "nothing said", and errors that
//! name the field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a document does not fit.
#[derive(Debug)]
pub(super) struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error(message.to_string())
    }
}

type Result<T> = std::result::Result<T, Error>;

/// Where in the document a value is.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    /// The type whose field it is.
    owner: &'static str,
    field: &'a str,
}

impl Place<'_> {
    fn path(&self) -> String {
        match self.parent {
            Some(parent) if !parent.field.is_empty() => format!("{}.{}", parent.path(), self.field),
            _ => self.field.to_string(),
        }
    }
}

/// A value and where it is.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    value: &'a Value,
    place: Option<&'a Place<'a>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(value: &'a Value) -> Source<'a> {
        Source { value, place: None }
    }

    fn wrong<T>(&self, wanted: &str) -> Result<T> {
        let found = match self.value {
            Value::Null => "null".to_string(),
            Value::Bool(_) => "bool".to_string(),
            Value::Number(number) if wanted.starts_with("int") || wanted.starts_with("uint") => {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_string(),
            Value::String(_) => "string".to_string(),
            Value::Array(_) => "array".to_string(),
            Value::Object(_) => "object".to_string(),
        };
        let place = match self.place {
            Some(place) => format!("Go struct field {}.{}", place.owner, place.path()),
            None => "Go value".to_string(),
        };
        let wanted = go_type(wanted);
        Err(Error(format!(
            "json: cannot unmarshal {found} into {place} of type {wanted}"
        )))
    }
}

/// The name Go has for a type of ours.
fn go_type(name: &str) -> String {
    let package = match name {
        "CreateRequest" | "HostConfig" | "DeviceMapping" | "RestartPolicy" | "LogConfig"
        | "UpdateConfig" | "ExecCreateRequest" | "ExecStartRequest" => "container.",
        "NetworkingConfig" | "EndpointSettings" | "CreateOptions" | "IPAM" => "network.",
        "Healthcheck" => return "v1.HealthcheckConfig".to_string(),
        "MountSpec" => return "mount.Mount".to_string(),
        "Ulimit" => "units.",
        "PortBinding" => "nat.",
        _ => "",
    };
    format!("{package}{name}")
}

macro_rules! integers {
    ($($method:ident $visit:ident $as:ident $name:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match (self.value, self.value.$as()) {
                (Value::Null, _) => visitor.$visit(0),
                (_, Some(number)) => visitor
                    .$visit(number)
                    .or_else(|_: Error| self.wrong($name)),
                _ => self.wrong($name),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Source<'_> {
    type Error = Error;

    integers! {
        deserialize_i8 visit_i64 as_i64 "int8";
        deserialize_i16 visit_i64 as_i64 "int16";
        deserialize_i32 visit_i64 as_i64 "int";
        deserialize_i64 visit_i64 as_i64 "int64";
        deserialize_u8 visit_u64 as_u64 "uint8";
        deserialize_u16 visit_u64 as_u64 "uint16";
        deserialize_u32 visit_u64 as_u64 "uint32";
        deserialize_u64 visit_u64 as_u64 "uint64";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_string(text.clone()),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => self.wrong("bool"),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match (self.value, self.value.as_f64()) {
            (Value::Null, _) => visitor.visit_f64(0.0),
            (_, Some(number)) => visitor.visit_f64(number),
            _ => self.wrong("float64"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_string(text.clone()),
            _ => self.wrong("string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Value::Null => visitor.visit_seq(Items {
                left: &[],
                place: self.place,
            }),
            Value::Array(items) => visitor.visit_seq(Items {
                left: items,
                place: self.place,
            }),
            _ => self.wrong("[]string"),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let none = Map::new();
        let members = match self.value {
            Value::Null => &none,
            Value::Object(members) => members,
            _ => return self.wrong("map[string]string"),
        };
        visitor.visit_map(Members {
            left: members.iter(),
            value: None,
            owner: None,
            fields: &[],
            parent: self.place,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let none = Map::new();
        let members = match self.value {
            Value::Null => &none,
            Value::Object(members) => members,
            _ => return self.wrong(name),
        };
        visitor.visit_map(Members {
            left: members.iter(),
            value: None,
            owner: Some(name),
            fields,
            parent: self.place,
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple_struct enum identifier ignored_any i128 u128
    }
}

struct Items<'a> {
    left: &'a [Value],
    place: Option<&'a Place<'a>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((value, left)) = self.left.split_first() else {
            return Ok(None);
        };
        self.left = left;
        let place = self.place;
        seed.deserialize(Source { value, place }).map(Some)
    }
}

struct Members<'a> {
    left: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
    /// The type whose fields these are; without one they are entries of a map.
    owner: Option<&'static str>,
    fields: &'static [&'static str],
    parent: Option<&'a Place<'a>>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        for (key, value) in self.left.by_ref() {
            let name = match self.owner {
                Some(_) => {
                    // A field that is said to be nothing keeps its default.
                    if value.is_null() {
                        continue;
                    }
                    self.fields
                        .iter()
                        .find(|field| field.eq_ignore_ascii_case(key))
                        .map_or(key.as_str(), |field| *field)
                }
                None => key.as_str(),
            };
            self.value = Some((name, value));
            let name = Value::String(name.to_string());
            return seed.deserialize(Source::new(&name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let (field, value) = self.value.take().unwrap_or(("", &Value::Null));
        match self.owner {
            Some(owner) => {
                let place = Place {
                    parent: self.parent,
                    owner,
                    field,
                };
                seed.deserialize(Source {
                    value,
                    place: Some(&place),
                })
            }
            None => seed.deserialize(Source {
                value,
                place: self.parent,
            }),
        }
    }
}
