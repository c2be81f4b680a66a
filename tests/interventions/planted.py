"""A GPT-NeoX whose skills are planted: each has one hidden unit, which several tokens turn on and which writes one target."""

import numpy as np
import torch
import transformers
from quanta.catalogue import contexts as catalogue_contexts
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.interventions import groups, removal
from support import tokens_of

WIDTH, SKILLS, CUES = 32, 4, 3


def model():
    """Skill s: after each of the tokens 1 + 4s … 3 + 4s comes 4 + 4s. Attention writes nothing, token 0 means nothing."""
    config = transformers.GPTNeoXConfig(
        vocab_size=WIDTH, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=SKILLS,
        bos_token_id=0, eos_token_id=0, max_position_embeddings=32,
    )  # fmt: skip
    found = transformers.GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    for name, parameter in found.named_parameters():
        parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    layer = found.gpt_neox.layers[0]
    found.gpt_neox.embed_in.weight.copy_(3 * torch.eye(WIDTH))
    found.lm_head.weight.copy_(2 * torch.eye(WIDTH))
    for skill in range(SKILLS):
        layer.mlp.dense_h_to_4h.weight[skill, cues(skill)] = 2.0
        layer.mlp.dense_4h_to_h.weight[target(skill), skill] = 3.0
    layer.mlp.dense_h_to_4h.bias.fill_(-2.0)
    return found


def cues(skill):
    return [1 + 4 * skill + i for i in range(CUES)]


def target(skill):
    return 4 + 4 * skill


def corpus(each=12, seed=0):
    """Tokens, and document, position and skill of each target: two blanks or more, a cue, the target of its skill."""
    rng = np.random.default_rng(seed)
    documents, skills = [], []
    for i in range(each * SKILLS):
        skill = i % SKILLS
        blanks = rng.integers(20, WIDTH, size=rng.integers(2, 6))
        documents.append([*blanks, cues(skill)[(i // SKILLS) % CUES], target(skill)])
        skills.append(skill)
    tokens = tokens_of(documents)
    return tokens, np.arange(len(documents)), np.array([len(d) - 1 for d in documents]), np.array(skills)


def bench(net=None, **corpus_settings):
    """All that a removal needs, and the skill of every token."""
    net = model() if net is None else net
    tokens, document, position, skill = corpus(**corpus_settings)
    gradients, losses = token_gradients(net, tokens, document, position, features=None, parameters="clean")
    ids = np.array([tokens.document(d)[p] for d, p in zip(document, position, strict=True)], dtype=np.int64)
    norms = np.linalg.norm(gradients.astype(float), axis=1)
    bigram = catalogue_contexts.bigrams(tokens, document, position)
    made = removal.Bench(
        net, tokens, parameter_set(net, "clean"), document, position, ids, bigram, losses.astype(float), norms, 64
    )
    return made, skill


def cases(made, labels, halving="documents", grouping=groups.CLUSTERS):
    """Cases of a labelling, each group halved."""
    found = groups.of_labels(grouping, labels, least=8)
    table = groups.table(found, made.document, made.position, made.bigram, half_tokens=6, no_bigram=[grouping], seed=0)
    every = groups.cases(table, {(g.grouping, g.number): g.tokens for g in found})
    return [case for case in every if case.halving == halving]


HOW = {"nats": 2.0, "tolerance": 0.05, "evaluations": 12, "others": 6}
INSERT = {"nats": 1.0, "steps": 4, "tolerance": 0.05, "others": 6}
