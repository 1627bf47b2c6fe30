"""The semantic cache alone: no plugins, no host."""

import legion

from legion.cache.embedders import wordllama


cache = legion.SemanticCache(wordllama(), threshold=0.85)
faq = cache.scope("shop", model="m1")
faq.put("Where is my parcel right now?", "Open the tracking page.")

for question in ("Where is my parcel?", "How do I close my account?"):
    hit = faq.get(question)
    print(question, "->", hit.value if hit else faq.explain(question).reason)
