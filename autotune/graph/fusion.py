"""Which operators a processor fuses and runs as one, as far as providers agree on it.

Convolutions and matrix products take along what follows them element by element: bias, normalisation, activation (also
one of several operators, such as x·sigmoid(x)), and a residual addition; products also what only gives their rows
another shape. Two products of activations with a Softmax between them are attention, one group. Element-by-element
operators that follow one another (also on what the group takes already, as in x·Φ(x)), and reshaping ones, form groups
of their own.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import onnx

from autotune.graph.operators import DATA_MOVEMENT, ELEMENTWISE
from autotune.graph.values import used_names

ANCHORS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedMatMul", "FusedGemm"}
FOLLOWERS = set(ELEMENTWISE) - {"Cast", "Equal", "Where", "Mod"} | {"BatchNormalization"}
VIEWS = DATA_MOVEMENT & {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
"""They move nothing."""
RESHAPING = VIEWS | {"Transpose"}
MAX_GROUP = 12


class _Growth:
    """Grows one group at a time over the nodes that no group has yet."""

    def __init__(self, nodes: Sequence[onnx.NodeProto], constants: set[str], outputs: set[str]) -> None:
        self.nodes = nodes
        self.constants = constants
        self.outputs = outputs
        self.group_of: list[int] = [-1] * len(nodes)
        self.consumers: dict[str, list[int]] = {}
        for at, node in enumerate(nodes):
            for name in used_names(node):
                self.consumers.setdefault(name, []).append(at)

    def live(self, members: set[int]) -> list[str]:
        """Tensors of a group that are used outside it."""
        return [
            name
            for at in sorted(members)
            for name in self.nodes[at].output
            if name in self.outputs or any(user not in members for user in self.consumers.get(name, ()))
        ]

    def free(self, at: int, kinds: set[str]) -> bool:
        """Whether a node can still be taken into a group."""
        node = self.nodes[at]
        return self.group_of[at] < 0 and node.op_type in kinds and len([o for o in node.output if o]) == 1

    def closed_step(self, members: set[int], tensor: str, kinds: set[str], taken: set[str]) -> set[int] | None:
        """The smallest further set of followers that leaves one tensor; None if none.

        It depends on nothing but the group and what is `taken` besides.
        """
        added: set[int] = set()
        made = {name for at in members for name in self.nodes[at].output} | taken
        reach = [tensor]
        while reach and len(members) + len(added) < MAX_GROUP:
            name = reach.pop(0)
            if name in self.outputs:
                return None
            for user in self.consumers.get(name, ()):
                if user in added or user in members:
                    continue
                inputs = {n for n in used_names(self.nodes[user]) if n not in self.constants}
                if not self.free(user, kinds) or not inputs <= made:
                    continue
                added.add(user)
                made.update(self.nodes[user].output)
                reach += list(self.nodes[user].output)
                left = self.live(members | added)
                if len(left) == 1 and left[0] != tensor:
                    return added
        return None

    def residual_step(self, members: set[int], tensor: str) -> set[int] | None:
        """A single addition of something computed elsewhere."""
        users = self.consumers.get(tensor, [])
        if len(users) == 1 and tensor not in self.outputs and self.free(users[0], {"Add", "Sum"}):
            node = self.nodes[users[0]]
            if len(node.input) == 2 and len(set(node.input)) == 2 and users[0] not in members:
                return {users[0]}
        return None

    def attention_step(self, members: set[int], tensor: str) -> set[int] | None:
        """A Softmax of the scores and the product with the values; the group so far makes the scores."""
        softmax = self.only_user(tensor, {"Softmax"})
        product = self.only_user(self.nodes[softmax].output[0], {"MatMul"}) if softmax is not None else None
        if softmax is None or product is None or not all(self.of_activations(at) for at in (min(members), product)):
            return None
        return {softmax, product}

    def only_user(self, tensor: str, kinds: set[str]) -> int | None:
        """The node that alone uses a tensor, if it is of these kinds and free."""
        users = self.consumers.get(tensor, [])
        alone = len(users) == 1 and tensor not in self.outputs and self.free(users[0], kinds)
        return users[0] if alone else None

    def of_activations(self, at: int) -> bool:
        """Whether a node multiplies two tensors that are not constant."""
        return self.nodes[at].op_type == "MatMul" and not self.constants.intersection(self.nodes[at].input)

    def grow(self, start: int, kinds: set[str], *, anchored: bool) -> set[int]:
        """The group that begins with a node; one with an anchor may have a residual, or be attention."""
        members, residual, attention = {start}, anchored, anchored
        taken = set() if anchored else set(used_names(self.nodes[start])) - self.constants
        while len(members) < MAX_GROUP:
            left = self.live(members)
            if len(left) != 1:
                break
            step = self.closed_step(members, left[0], kinds, taken)
            if step is None and residual:
                step = self.residual_step(members, left[0])
                residual = step is None
            if step is None and attention:
                step, attention = self.attention_step(members, left[0]), False
            if step is None:
                break
            members |= step
        return members


def group_nodes(nodes: Sequence[onnx.NodeProto], *, constants: set[str], outputs: set[str]) -> list[list[int]]:
    """Groups of node indices in an order in which they can run; within a group in topological order.

    Args:
        nodes: in topological order.
        constants: names of initializers.
        outputs: names of the model's outputs.
    """
    growth = _Growth(nodes, constants, outputs)
    groups: list[list[int]] = []

    def take(members: set[int]) -> None:
        for at in members:
            growth.group_of[at] = len(groups)
        groups.append(sorted(members))

    for at, node in enumerate(nodes):
        if node.op_type in ANCHORS and growth.group_of[at] < 0:
            take(growth.grow(at, FOLLOWERS if "Conv" in node.op_type else FOLLOWERS | VIEWS, anchored=True))
    for at, node in enumerate(nodes):
        if growth.group_of[at] >= 0:
            continue
        if node.op_type in FOLLOWERS:
            take(growth.grow(at, FOLLOWERS, anchored=False))
        elif node.op_type in RESHAPING:
            take(growth.grow(at, RESHAPING, anchored=False))
        else:
            take({at})
    return _in_order(groups, nodes, growth)


def _in_order(groups: list[list[int]], nodes: Sequence[onnx.NodeProto], growth: _Growth) -> list[list[int]]:
    """Kahn's algorithm on the groups; of those that are ready, the one that began earliest in the file comes first."""
    made: Mapping[str, int] = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    needs: list[set[int]] = []
    for number, members in enumerate(groups):
        used = {made[name] for at in members for name in used_names(nodes[at]) if name in made}
        needs.append({growth.group_of[at] for at in used} - {number})
    users: list[list[int]] = [[] for _ in groups]
    for number, needed in enumerate(needs):
        for other in needed:
            users[other].append(number)
    waiting = [len(needed) for needed in needs]
    ready = [(members[0], number) for number, members in enumerate(groups) if not waiting[number]]
    heapq.heapify(ready)
    order = []
    while ready:
        _, number = heapq.heappop(ready)
        order.append(groups[number])
        for user in users[number]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (groups[user][0], user))
    if len(order) != len(groups):  # groups that depend on each other: run the nodes one by one
        return [[at] for at in range(len(nodes))]
    return order
