"""Every game, toys and papers: against a loop written by hand, and the engine's promises for all of them."""

import copy
import functools
import json

import jobs
import pytest
import tiny
import torch
from by_hand import ByHand, N, play
from papers import PAPERS
from tiny import OnTheHost

from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

GAMES = [name for name, paper in PAPERS.items() if not paper.other_networks]
EVERY = pytest.mark.parametrize("name", GAMES)
ALL_NETWORKS = pytest.mark.parametrize("name", PAPERS)
IN_LAUNCH = [name for name in GAMES if not name.startswith("toy ")]
"""The toys are launched with the other cases of `test_parity`, `test_compiled` and `test_sharding`."""


@pytest.mark.slow
@ALL_NETWORKS
def test_the_rounds_equal_a_loop_written_by_hand(name):
    paper = PAPERS[name]
    game = paper.made()
    loop = ByHand(game)
    before = {at: p.clone() for at, p in loop.weights().items()}
    for number, batch in enumerate(paper.batches(paper.rounds)):
        paper.by_hand(loop, number, batch)
        game.training_step(batch, number)
    ours, theirs = dict(game.named_parameters()), loop.weights()
    assert ours.keys() == theirs.keys() and game.clock.nimg == loop.nimg == paper.rounds * N
    far = {at: (ours[at] - theirs[at]).abs().max().item() for at in ours if not at.endswith(paper.idle)}
    assert max(far.values()) < 1e-10, max(far, key=far.get)
    assert not [at for at in ours if at.startswith(moved(game)) and torch.equal(before[at], ours[at])]
    if name == "toy remembering":
        assert game.strength.item() == pytest.approx(loop.strength, abs=1e-12) and 0 < loop.strength != 0.1
        assert torch.allclose(game.pool, loop.pool, rtol=1e-12) and 0 < loop.skipped < 10
        assert game.statistics.read()["critic/skipped"] == pytest.approx(loop.skipped / 10)


def moved(game):
    """The beginnings of the names of those weights that a player moves, and of their averages."""
    networks = {at for player in game.players.values() for at in player.networks}
    return tuple(f"{at}." for at in [*networks, *(game.average_names[at] for at in networks & game.averages.keys())])


@pytest.mark.slow
@EVERY
def test_a_killed_game_goes_on_as_if_nothing_had_been(name):
    whole, batches = PAPERS[name].made(), PAPERS[name].batches(9)
    play(whole, batches[:5])
    checkpoint = {"optimizer_states": [copy.deepcopy(s.optimizer.state_dict()) for s in whole.seats.values()]}
    whole.on_save_checkpoint(checkpoint)
    saved = copy.deepcopy({**checkpoint, "state_dict": whole.state_dict()})
    play(whole, batches[5:])
    rest = PAPERS[name].made()
    rest.load_state_dict(saved["state_dict"])
    rest.on_load_checkpoint(saved)
    for seat, state in zip(rest.seats.values(), saved["optimizer_states"], strict=True):
        seat.optimizer.load_state_dict(state)
    play(rest, batches[5:])
    assert rest.clock == whole.clock
    assert tiny.distance(rest.state_dict(), whole.state_dict()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, paper in PAPERS.items() if not paper.coupled])
def test_micro_batches_change_nothing(name):
    whole, cut = (play(PAPERS[name].made(micro_batch=size), PAPERS[name].batches(6)) for size in (None, 4))
    ours, theirs = (
        {at: p for at, p in game.named_parameters() if not at.endswith(PAPERS[name].idle)} for game in (whole, cut)
    )
    assert tiny.distance(ours, theirs) < 1e-11  # Adam magnifies what is rounded in a gradient near to its epsilon
    assert whole.statistics.read() == pytest.approx(cut.statistics.read(), rel=1e-12)


@pytest.mark.slow
@EVERY
def test_a_step_that_is_not_finite_is_masked_for_its_player_alone(name):
    game, batches = PAPERS[name].made(), PAPERS[name].batches(4)
    play(game, batches[:3])
    game.statistics.read()
    for seat in game.seats.values():
        seat.read_culprits()
    leader, *others = game.players
    before = {at: p.clone() for at, p in game.seats[leader].network.named_parameters()}
    moments = copy.deepcopy(game.seats[leader].optimizer.state_dict()["state"])
    game.loss[leader] = lambda batch, loss=game.loss[leader]: broken(loss(batch))
    game.step(leader, batches[3])
    assert all(torch.equal(before[at], p) for at, p in game.seats[leader].network.named_parameters())
    after = game.seats[leader].optimizer.state_dict()["state"]
    assert all(torch.equal(v, after[i][at]) for i, state in moments.items() for at, v in state.items())
    assert game.statistics.read()[f"{leader}/not_finite"] == 1 and game.seats[leader].read_culprits()
    assert not any(game.seats[other].read_culprits() for other in others)


def broken(loss):
    terms, *beside = loss if isinstance(loss, tuple) else (loss,)
    terms = {at: values / 0 for at, values in terms.items()}
    return (terms, *beside) if beside else terms


@functools.cache
def told_in_fp32(name):
    """What a game's statistics are in fp32, for all precisions that are compared with it."""
    return play(PAPERS[name].made(precision="fp32"), PAPERS[name].batches(6, dtype=torch.float32)).statistics.read()


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_every_precision_plays(name, precision):
    if precision == "fp16" and PAPERS[name].second_order:
        with pytest.raises(UserError, match="float16's loss scales do not allow"):
            PAPERS[name].made(precision=precision)
        return
    game = play(PAPERS[name].made(precision=precision), PAPERS[name].batches(6, dtype=torch.float32))
    found = game.statistics.read()
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in game.parameters())
    assert {at for at in found if at.endswith("/loss")} == {f"{player}/loss" for player in game.players}
    full = told_in_fp32(name)
    for at in found:
        if at.endswith("/loss"):
            assert found[at] == pytest.approx(full[at], abs=PAPERS[name].spread, rel=0.02), at


@ALL_NETWORKS
def test_a_loss_neither_waits_for_the_device_nor_copies_to_it(name):
    game, host = PAPERS[name].made(), OnTheHost()

    def watched(loss):
        def call(batch):
            with host:
                return loss(batch)

        return call

    game.loss = {player: watched(loss) for player, loss in game.loss.items()}
    play(game, PAPERS[name].batches(2))
    assert host.noted == []


@pytest.mark.parametrize("name", [name for name in PAPERS if name.startswith("toy ")])
def test_the_clock_of_the_first_edition_is_taken(name):
    game = play(PAPERS[name].made(), PAPERS[name].batches(7))
    state = {"nimg": game.clock.nimg, "moves": dict(game.clock.steps)}
    again = PAPERS[name].made()
    again.on_load_checkpoint({"optimizer_states": [], "ganlab": {"clock": state, "attempt": 0}})
    assert again.clock.steps == game.clock.steps and again.clock.nimg == 7 * N
    if name != "toy alpha-GAN":  # whose codes step by a function, which the first edition had not
        assert again.clock == game.clock


# --- launched: compiled, and two processes


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What `launched/played.py` found, by name."""
    folder = tmp_path_factory.mktemp("papers")
    jobs.launch("played.py", folder)
    return json.loads((folder / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize("name", IN_LAUNCH)
def test_two_processes_end_as_one_does(launched, name):
    assert launched[name]["ranks"] == 0 and launched[name]["two"] < 1e-10


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize("name", [name for name in IN_LAUNCH if not PAPERS[name].second_order])
def test_compiled_losses_equal_eager_ones(launched, name):
    assert launched[name]["compiled"] < 1e-10 and launched[name]["logged"] == []
    assert launched[name]["graphs"] == PAPERS[name].graphs
