"""The benchmark `controller`: what our operator costs, beside others that do the same, at a hundred and thousands of Agents."""
