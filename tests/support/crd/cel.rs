//! The rules of `x-kubernetes-validations`, evaluated as the API server does when an object is
//! created.
//!
//! Of the functions that Kubernetes adds to CEL only those are here that the CRDs in question use:
//! optional values, the string functions, and `format` with DNS names. A rule that uses another one
//! is reported as one that can't be evaluated.
//!
//! Left out: the cost limit; equality of lists of type `set` or `map` without regard to order; and
//! `\d` in a rule's regular expressions means every Unicode digit.
//!
//! Source of truth: "Validation rules" in the Kubernetes documentation of
//! CustomResourceDefinitions, and its list of CEL libraries.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cel::extractors::This;
use cel::objects::OptionalValue;
use cel::{Context, Env, Program, Value as Cel, extensions};
use regex::Regex;
use serde_json::Value;

use super::schema::{FieldPath, Violations, children, flag};

/// A name's most characters, and its form.
const DNS_FORMATS: [(&str, usize, &str); 3] = [
    (
        "dns1123Subdomain",
        253,
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
    ("dns1123Label", 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    ("dns1035Label", 63, "^[a-z]([-a-z0-9]*[a-z0-9])?$"),
];

/// Names that CEL itself uses: fields of these names are `__name__` in rules.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// What is wrong with a name of one of the [`DNS_FORMATS`].
pub fn name_violation(format: &str, name: &str) -> Option<String> {
    let Some((_, most, form)) = DNS_FORMATS.iter().find(|(known, ..)| *known == format) else {
        return Some(format!("unknown format {format}"));
    };
    let form = Regex::new(form).expect("the expression is right");
    (name.len() > *most || !form.is_match(name)).then(|| format!("must be a {format}"))
}

/// All rules' programs, compiled once.
pub struct Rules {
    env: Arc<Env>,
    programs: BTreeMap<String, Result<Program, String>>,
    evaluated: RefCell<BTreeSet<String>>,
}

impl Rules {
    /// No rules yet.
    pub fn new() -> Self {
        let mut env = Env::stdlib().with_optional_support(true);
        env.add_extension(extensions::strings)
            .expect("the string functions are declared once");
        Self {
            env: Arc::new(env),
            programs: BTreeMap::new(),
            evaluated: RefCell::default(),
        }
    }

    /// Compiles every rule of a schema.
    pub fn compile(&mut self, schema: &Value) {
        match schema {
            Value::Object(keywords) => {
                for rule in rules(schema) {
                    for source in ["rule", "messageExpression"] {
                        if let Some(source) = rule[source].as_str() {
                            let program = self.env.compile(source);
                            let program = program.map_err(|error| error.to_string());
                            self.programs.insert(source.to_owned(), program);
                        }
                    }
                }
                for (keyword, below) in keywords {
                    if keyword != "x-kubernetes-validations" {
                        self.compile(below);
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|below| self.compile(below)),
            _ => {}
        }
    }

    /// The rules' sources, and what the compiler says to those it can't compile.
    pub fn sources(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.programs.iter().map(|(source, program)| {
            let error = program.as_ref().err().map(String::as_str);
            (source.as_str(), error)
        })
    }

    /// The sources of the rules that came to a result so far.
    pub fn evaluated(&self) -> BTreeSet<String> {
        self.evaluated.borrow().clone()
    }

    /// Whether a rule compares with the object as it was, which there is none of on create.
    pub fn is_transition(&self, source: &str) -> bool {
        let program = self.programs.get(source);
        program.is_some_and(|program| {
            program
                .as_ref()
                .is_ok_and(|program| program.references().has_variable("oldSelf"))
        })
    }

    /// Evaluates the rules of a value and of everything below it.
    pub fn check(
        &self,
        schema: &Value,
        value: &Value,
        resource: bool,
        path: &FieldPath,
        violations: &mut Violations,
    ) {
        for rule in rules(schema) {
            let source = rule["rule"].as_str().unwrap_or("");
            let optional = flag(rule, "optionalOldSelf");
            if self.is_transition(source) && !optional {
                continue;
            }
            let evaluate = |source: &str| -> Result<Cel, String> {
                let program = self.programs.get(source).ok_or("rule is not compiled")?;
                let program = program.as_ref().map_err(String::clone)?;
                let mut context = self.context()?;
                context.add_variable_from_value("self", self.convert(schema, value, resource)?);
                if optional {
                    let none = Cel::Opaque(Arc::new(OptionalValue::none()));
                    context.add_variable_from_value("oldSelf", none);
                }
                program.execute(&context).map_err(|error| error.to_string())
            };
            match evaluate(source) {
                Ok(Cel::Bool(holds)) => {
                    self.evaluated.borrow_mut().insert(source.to_owned());
                    if !holds {
                        let computed = rule["messageExpression"].as_str().map(evaluate);
                        let message = match (computed, rule["message"].as_str()) {
                            (Some(Ok(Cel::String(message))), _) => message.to_string(),
                            (_, Some(message)) => message.to_owned(),
                            (_, None) => format!("failed rule: {source}"),
                        };
                        let field = rule["fieldPath"].as_str().unwrap_or("");
                        let field = field.trim_start_matches('.');
                        if field.is_empty() {
                            violations.add(path, message);
                        } else {
                            violations.add(&path.property(field), message);
                        }
                    }
                }
                Ok(other) => violations.add(
                    path,
                    format_args!("cannot evaluate: {source}: gives {other:?}"),
                ),
                Err(error) => {
                    violations.add(path, format_args!("cannot evaluate: {source}: {error}"));
                }
            }
        }
        children(schema, value, path, |schema, value, path| {
            let resource = flag(schema, "x-kubernetes-embedded-resource");
            self.check(schema, value, resource, path, violations);
        });
    }

    fn context(&self) -> Result<Context<'static, 'static>, String> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        let mut add = || {
            for (name, ..) in DNS_FORMATS {
                context.add_function(&format!("format.{name}"), move || name.to_owned())?;
            }
            context.add_function(
                "validate",
                |This(format): This<Arc<String>>, name: Arc<String>| match name_violation(
                    &format, &name,
                ) {
                    Some(what) => {
                        let what = Cel::from(vec![Cel::from(what)]);
                        Cel::Opaque(Arc::new(OptionalValue::of(what)))
                    }
                    None => Cel::Opaque(Arc::new(OptionalValue::none())),
                },
            )
        };
        add().map_err(|error: cel::DeclarationError| error.to_string())?;
        Ok(context)
    }

    /// A value as rules see it: typed by its schema, without what the schema doesn't declare.
    fn convert(&self, schema: &Value, value: &Value, resource: bool) -> Result<Cel, String> {
        Ok(match value {
            Value::Null => Cel::Null,
            Value::Bool(flag) => Cel::Bool(*flag),
            Value::Number(number) => {
                if schema["type"] == "number" {
                    Cel::Float(number.as_f64().ok_or("number is out of range")?)
                } else {
                    Cel::Int(number.as_i64().ok_or("integer is out of range")?)
                }
            }
            Value::String(text) => match schema["format"].as_str() {
                Some("date-time") => self.timestamp(text)?,
                Some("byte") => {
                    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
                    Cel::Bytes(Arc::new(bytes))
                }
                _ => Cel::from(text.as_str()),
            },
            Value::Array(elements) => {
                let convert = |element| self.convert(&schema["items"], element, false);
                let elements: Result<Vec<Cel>, String> = elements.iter().map(convert).collect();
                Cel::from(elements?)
            }
            Value::Object(fields) => {
                let mut map: HashMap<String, Cel> = HashMap::new();
                for (name, field) in fields {
                    if resource && ["apiVersion", "kind"].contains(&name.as_str()) {
                        map.insert(name.clone(), self.convert(&Value::Null, field, false)?);
                    } else if resource && name == "metadata" {
                        let mut metadata: HashMap<String, Cel> = HashMap::new();
                        for name in ["name", "generateName"] {
                            if let Some(text) = field[name].as_str() {
                                metadata.insert(name.to_owned(), Cel::from(text));
                            }
                        }
                        map.insert(name.clone(), Cel::from(metadata));
                    } else if let Some(property) = schema["properties"].get(name) {
                        map.insert(escape(name), self.convert(property, field, false)?);
                    } else if let Some(entry @ Value::Object(_)) =
                        schema.get("additionalProperties")
                    {
                        map.insert(name.clone(), self.convert(entry, field, false)?);
                    }
                }
                Cel::from(map)
            }
        })
    }

    fn timestamp(&self, text: &str) -> Result<Cel, String> {
        let program = self.env.compile("timestamp(self)");
        let program = program.map_err(|error| error.to_string())?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value("self", text);
        program.execute(&context).map_err(|error| error.to_string())
    }
}

fn rules(schema: &Value) -> impl Iterator<Item = &Value> {
    let rules = schema.get("x-kubernetes-validations");
    rules.and_then(Value::as_array).into_iter().flatten()
}

/// A property's name as rules write it.
fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
