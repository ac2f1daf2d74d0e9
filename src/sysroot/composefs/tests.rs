use super::*;
use crate::tree::Content;
use std::collections::BTreeMap;

#[test]
fn scratch() {
    let mut tree = Tree::new(Meta::root(0o755));
    let usr = tree.make_directories("usr/lib", &Meta::root(0o755));
    let add = |tree: &mut Tree, d, name: &str, meta, text: &str| tree.create(d, name, meta, Node::File(Content::bytes(text.as_bytes())));
    let mut m = Meta::root(0o4755); m.gid = 70000; m.xattrs = Xattrs::new().with(b"trusted.overlay.redirect", b"x").with(b"security.selinux", b"a:b:c");
    add(&mut tree, usr, "a", m, "alpha\n");
    add(&mut tree, usr, "e", Meta::root(0o600), "");
    add(&mut tree, usr, "big", Meta::root(0o600), &"x".repeat(5000));
    tree.create(usr, "l", Meta::root(0o777), Node::Symlink(b"nowhere".as_slice().into()));
    tree.create(usr, "l2", Meta::root(0o777), Node::Symlink(vec![b'a';1024].into()));
    let _ = BTreeMap::<u8,u8>::new();
    let image = image(&tree, &|id| Some(Checksum::of(&[id.index() as u8]))).unwrap();
    std::fs::write("/tmp/lab/composefs/s.cfs", image).unwrap();
}
