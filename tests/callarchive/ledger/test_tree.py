"""The Merkle tree against pymerkle, another implementation of the same hashes."""

from typing import Any

import pytest
from pymerkle import InmemoryTree

from callarchive.ledger.tree import EMPTY_ROOT, Frontier, inclusion_proof, leaf_hash, proven_root, root_of

SIZES = [*range(1, 35), 63, 64, 65]


def entries(size: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(size)]


def pymerkle_tree(size: int) -> Any:
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(size):
        tree.append_entry(entry)
    return tree


@pytest.mark.parametrize("size", SIZES)
def test_roots_are_those_of_another_implementation(size: int) -> None:
    frontier = Frontier()
    for entry in entries(size):
        frontier.append(leaf_hash(entry))
    assert frontier.root() == pymerkle_tree(size).get_root()
    assert Frontier(frontier.size, frontier.hashes).root() == frontier.root()


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == InmemoryTree(algorithm="sha256").get_root()


def test_a_frontier_needs_a_hash_for_each_complete_subtree() -> None:
    with pytest.raises(ValueError, match="a tree of 3 entries has 2 complete subtrees, not 1"):
        Frontier(3, [b"\0" * 32])


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_are_those_of_another_implementation(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in entries(size)]
    other = pymerkle_tree(size)
    for index in range(0, size, max(1, size // 9)):
        proof = inclusion_proof(leaves, index, size)
        assert [leaves[index].hex(), *(digest.hex() for digest in proof)] == other.prove_inclusion(
            index + 1
        ).serialize()["path"]
        assert proven_root(leaves[index], index, size, proof) == root_of(leaves)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 13])
def test_a_wrong_proof_leads_elsewhere_or_is_refused(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in entries(size)]
    root = root_of(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index, size)
        with pytest.raises(ValueError, match="too short"):
            proven_root(leaves[index], index, size, proof[:-1])
        with pytest.raises(ValueError, match="too long"):
            proven_root(leaves[index], index, size, [*proof, root])
        assert proven_root(leaf_hash(b"another"), index, size, proof) != root
        assert proven_root(leaves[index], index, size, [root, *proof[1:]]) != root
        with pytest.raises(ValueError, match="has no entry"):
            proven_root(leaves[index], size, size, proof)
    with pytest.raises(IndexError):
        inclusion_proof(leaves, size, size)
