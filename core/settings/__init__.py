"""The parts behind `core.config`: reading, the tree, the checks, the display. Import `core.config` instead."""
