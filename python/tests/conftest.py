"""What tests share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def same_numbers():
    """Every test draws the same numbers."""
    torch.manual_seed(7)
