from __future__ import annotations

import pandas as pd
import pytest

from dualcontrast.analysis.agreement import Agreement, agreement_of


def test_agreement_leaves_out_images_without_a_label() -> None:
    table = pd.DataFrame({"content_cluster": [1, 1, 2, 2, 2], "transformation_cluster": [1, 1, 1, 2, 2]})
    labels = pd.DataFrame({"content": ["a", None, "b", "b", None], "transformation": ["x", "y", "x", "y", "y"]})
    found = agreement_of(table, labels)
    assert found["content"] == Agreement(ari=1.0, nmi=1.0, purity=1.0, images=3)
    # The first cluster is one group of two states, and the second is right: weighted by their images.
    assert found["transformation"].purity == pytest.approx((2 * 0.5 + 3 * 1) / 5)
    assert found["transformation"].images == 5
    assert agreement_of(table, pd.DataFrame(index=range(5))) == {}
