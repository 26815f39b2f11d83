//! Weaves mutants into one program, so that it is built once and not once for each of them.
//!
//! `ringtoss-breaking MUTANTS.json FOLDER [ID...]`: the list is that of `cargo mutants --list --json`, a mutant's id is its place
//! in it, and those that are named after the folder are left out. The sources in the folder are written anew, with every
//! mutant behind a question: `crate::broken::is(ID)`. What cannot be asked at run time (constants, conditions with `let`)
//! is printed, as `skipped ID`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use proc_macro2::{LineColumn, Span};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

type Range = (usize, usize);

/// A place where mutants are.
struct Site {
    range: Range,
    shape: Shape,
}

enum Shape {
    /// Text instead of what is there.
    Text(String),
    Binary { left: Range, right: Range, operator: String, others: Vec<(usize, String)> },
    Unary { operand: Range, operator: String, id: usize },
    Guard { yes: Option<usize>, no: Option<usize> },
    Field { name: String, value: Range, base: Range, id: usize },
}

impl Shape {
    /// Of two sites at the same place, which one is around the other.
    fn rank(&self) -> u8 {
        match self {
            Shape::Field { .. } => 0,
            Shape::Guard { .. } => 1,
            _ => 2,
        }
    }
}

fn asks(id: usize) -> String {
    format!("crate::broken::is({id})")
}

struct Visitor<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// By where they are: what is to be there instead, and the id.
    mutants: HashMap<(usize, usize), Vec<(usize, String, String)>>,
    sites: Vec<Site>,
    woven: BTreeSet<usize>,
    /// Within what is made when it is compiled.
    constant: usize,
}

impl Visitor<'_> {
    fn offset(&self, at: LineColumn) -> usize {
        let line = self.lines[at.line - 1];
        line + self.text[line..].chars().take(at.column).map(char::len_utf8).sum::<usize>()
    }

    fn range(&self, span: Span) -> Range {
        (self.offset(span.start()), self.offset(span.end()))
    }

    fn at(&self, span: Span, genre: &str) -> Vec<(usize, String)> {
        if self.constant > 0 {
            return Vec::new();
        }
        let start = span.start();
        let here = self.mutants.get(&(start.line, start.column + 1)).into_iter().flatten();
        here.filter(|(_, of, _)| of == genre).map(|(id, _, new)| (*id, new.clone())).collect()
    }

    fn add(&mut self, range: Range, shape: Shape, ids: impl IntoIterator<Item = usize>) {
        self.woven.extend(ids);
        self.sites.push(Site { range, shape });
    }

    fn function(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let mutants = self.at(first.span(), "FnValue");
        if mutants.is_empty() {
            return;
        }
        let after = self.range(block.brace_token.span.open()).1;
        let text = mutants.iter().map(|(id, new)| format!("\nif {} {{ return {new}; }}\n", asks(*id))).collect();
        self.add((after, after), Shape::Text(text), mutants.iter().map(|(id, _)| *id));
    }

    /// Visits what a function is made of. Where something was woven in, it is asked at run time, so it is not `const` any more.
    fn visit_function(&mut self, signature: &syn::Signature, block: Option<&syn::Block>, visit: impl FnOnce(&mut Self)) {
        let before = self.woven.len();
        if let Some(block) = block {
            self.function(block);
        }
        visit(self);
        if let Some(keyword) = signature.constness
            && self.woven.len() > before
        {
            let range = self.range(keyword.span());
            self.sites.push(Site { range, shape: Shape::Text(String::new()) });
        }
    }

    fn within_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constant += 1;
        visit(self);
        self.constant -= 1;
    }

    /// The text of a range, with what is woven into it; sites before `from` are around it.
    fn render(&self, range: Range, from: usize) -> String {
        let mut out = String::new();
        let mut at = range.0;
        for (index, site) in self.sites.iter().enumerate().skip(from) {
            if site.range.0 < at || site.range.1 > range.1 {
                continue;
            }
            out.push_str(&self.text[at..site.range.0]);
            out.push_str(&self.render_site(index));
            at = site.range.1;
        }
        out.push_str(&self.text[at..range.1]);
        out
    }

    fn render_site(&self, index: usize) -> String {
        let site = &self.sites[index];
        let part = |range: &Range| self.render(*range, index + 1);
        match &site.shape {
            Shape::Text(text) => text.clone(),
            Shape::Binary { left, right, operator, others } => {
                let (left, right) = (part(left), part(right));
                let mut out = String::from("(");
                for (id, other) in others {
                    out += &format!("if {} {{ {left} {other} {right} }} else ", asks(*id));
                }
                out + &format!("{{ {left} {operator} {right} }})")
            }
            Shape::Unary { operand, operator, id } => {
                let operand = part(operand);
                format!("(if {} {{ {operand} }} else {{ {operator}{operand} }})", asks(*id))
            }
            Shape::Guard { yes, no } => {
                let ask = |id: &Option<usize>| id.map_or("false".to_string(), asks);
                format!("({} || !{} && ({}))", ask(yes), ask(no), part(&site.range))
            }
            Shape::Field { name, value, base, id } => {
                let (value, base) = (part(value), part(base));
                format!("{name}: if {} {{ ({base}).{name} }} else {{ {value} }}", asks(*id))
            }
        }
    }
}

fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.visit_function(&item.sig, Some(&item.block), |visitor| visit::visit_item_fn(visitor, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.visit_function(&item.sig, Some(&item.block), |visitor| visit::visit_impl_item_fn(visitor, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        let block = item.default.as_ref();
        self.visit_function(&item.sig, block, |visitor| visit::visit_trait_item_fn(visitor, item));
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within_constant(|visitor| visit::visit_item_const(visitor, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within_constant(|visitor| visit::visit_impl_item_const(visitor, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within_constant(|visitor| visit::visit_item_static(visitor, item));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.within_constant(|visitor| visit::visit_item_enum(visitor, item));
    }

    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.within_constant(|visitor| visit::visit_expr_const(visitor, item));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.within_constant(|visitor| visit::visit_type(visitor, item));
    }

    fn visit_pat(&mut self, item: &'ast syn::Pat) {
        self.within_constant(|visitor| visit::visit_pat(visitor, item));
    }

    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.within_constant(|visitor| visitor.visit_expr(&item.len));
    }

    fn visit_expr_binary(&mut self, item: &'ast syn::ExprBinary) {
        let others = self.at(item.op.span(), "BinaryOperator");
        if !others.is_empty() && !has_let(&item.left) && !has_let(&item.right) {
            let (left, right) = (self.range(item.left.span()), self.range(item.right.span()));
            let operator = self.range(item.op.span());
            let operator = self.text[operator.0..operator.1].to_string();
            let ids: Vec<usize> = others.iter().map(|(id, _)| *id).collect();
            self.add((left.0, right.1), Shape::Binary { left, right, operator, others }, ids);
        }
        visit::visit_expr_binary(self, item);
    }

    fn visit_expr_unary(&mut self, item: &'ast syn::ExprUnary) {
        if let Some((id, _)) = self.at(item.op.span(), "UnaryOperator").pop() {
            let (range, operand) = (self.range(item.op.span()), self.range(item.expr.span()));
            let operator = self.text[range.0..range.1].to_string();
            self.add((range.0, operand.1), Shape::Unary { operand, operator, id }, [id]);
        }
        visit::visit_expr_unary(self, item);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((id, _)) = self.at(arm.span(), "MatchArm").pop() {
            let end = self.range(arm.pat.span()).1;
            self.add((end, end), Shape::Text(format!(" if !{}", asks(id))), [id]);
        }
        if let Some((_, guard)) = &arm.guard {
            let mutants = self.at(guard.span(), "MatchArmGuard");
            let with = |value: &str| mutants.iter().find(|(_, new)| new == value).map(|(id, _)| *id);
            let (yes, no) = (with("true"), with("false"));
            if yes.or(no).is_some() && !has_let(guard) {
                let range = self.range(guard.span());
                self.add(range, Shape::Guard { yes, no }, yes.into_iter().chain(no));
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        for field in &item.fields {
            if let Some((id, _)) = self.at(field.span(), "StructField").pop()
                && let (Some(base), syn::Member::Named(name)) = (&item.rest, &field.member)
            {
                let (range, value) = (self.range(field.span()), self.range(field.expr.span()));
                let shape = Shape::Field { name: name.to_string(), value, base: self.range(base.span()), id };
                self.add(range, shape, [id]);
            }
        }
        visit::visit_expr_struct(self, item);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (list, folder) = (arguments.next().expect("a list"), arguments.next().expect("a folder"));
    let left_out: BTreeSet<usize> = arguments.map(|id| id.parse().expect("an id")).collect();
    let list: Value = serde_json::from_str(&fs::read_to_string(list).unwrap()).unwrap();
    let mut files: BTreeMap<String, Vec<(usize, &Value)>> = BTreeMap::new();
    for (id, mutant) in list.as_array().unwrap().iter().enumerate() {
        files.entry(mutant["file"].as_str().unwrap().to_string()).or_default().push((id, mutant));
    }
    for (file, mutants) in files {
        let path = Path::new(&folder).join(&file);
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut visitor = Visitor {
            text: &text,
            lines,
            mutants: HashMap::new(),
            sites: Vec::new(),
            woven: BTreeSet::new(),
            constant: 0,
        };
        for (id, mutant) in &mutants {
            if left_out.contains(id) {
                continue;
            }
            let number = |name: &str| mutant["span"]["start"][name].as_u64().unwrap() as usize;
            let word = |name: &str| mutant[name].as_str().unwrap().to_string();
            let place = (number("line"), number("column"));
            visitor.mutants.entry(place).or_default().push((*id, word("genre"), word("replacement")));
        }
        let parsed = syn::parse_file(&text).unwrap();
        visitor.visit_file(&parsed);
        visitor.sites.sort_by_key(|site| (site.range.0, std::cmp::Reverse(site.range.1), site.shape.rank()));
        for (id, _) in mutants.iter().filter(|(id, _)| !visitor.woven.contains(id) && !left_out.contains(id)) {
            println!("skipped {id}");
        }
        let woven = visitor.render((0, text.len()), 0);
        fs::write(&path, woven).unwrap();
    }
}
