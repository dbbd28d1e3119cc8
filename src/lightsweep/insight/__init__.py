"""What a run shows of itself: pictures and a report when it has been scored, histograms and the graph as it trains."""
