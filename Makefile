# SPDX-License-Identifier: Apache-2.0
# make session   two epochs of the training loop against the simulation (OPERATOR=keyboard: you press the keys)
# make test      all tests                    make lint    ruff and mypy
# make bench     what it costs, measured      make setup   only set up
# make learn     a robot that gets better: corrections, training, evaluation, the curve (FAST=1: in one process)
# make soak      record for MINUTES=60, and print rates, memory, gaps
# make docs      write the generated parts of the pages, and the README's animation of a real session
# make docs-check   run the pages' commands
#
# Variables: SAVE_DIR=DIR  RSYNC_TARGET=DIR  CONFIG=FILE  OPERATOR=scripted|keyboard|none  CONSOLE=auto|yes|no
#            EPOCHS=N  EPISODES=N  SEED=N  SEEDS=N  FAST=1  TRAINER=FILE (your training command)
#            TASK=reach|push (what `make learn` learns)
#            ABLATION=zeros|policy_only|policy_rows|demonstrations|lookahead1|split_none|blind
#            PYTHON=python3.11 (the interpreter of .venv)

SAVE_DIR ?= data/episodes
RSYNC_TARGET ?= data/uploaded
CONFIG ?=
OPERATOR ?= scripted
CONSOLE ?= auto
EPOCHS ?=
EPISODES ?=
PYTEST_ARGS ?=
MINUTES ?= 60

IN_WORKSPACE := h1_training_bringup/scripts/in_workspace.sh
PACKAGES := h1_training_msgs h1_inspire_driver h1_policy_bridge h1_recorder h1_session_manager h1_training_bringup
SOURCED := $(if $(and $(filter jazzy,$(ROS_DISTRO)),$(shell command -v ros2)),yes)

RUNNER_OPTIONS = --sim --operator "$(OPERATOR)" --console "$(CONSOLE)" --save-dir "$(SAVE_DIR)" --rsync-target "$(RSYNC_TARGET)" \
  --log-dir log/sessions $(if $(CONFIG),--config "$(CONFIG)") $(if $(EPOCHS),--epochs "$(EPOCHS)") \
  $(if $(EPISODES),--episodes "$(EPISODES)")
LAUNCH_ARGUMENTS = sim:=true "operator:=$(OPERATOR)" "save_dir:=$(SAVE_DIR)" "rsync_target:=$(RSYNC_TARGET)" \
  $(if $(CONFIG),"config:=$(CONFIG)") $(if $(EPOCHS),"epochs:=$(EPOCHS)") $(if $(EPISODES),"episodes:=$(EPISODES)")

LEARN_OPTIONS = $(if $(FAST),--fast) $(if $(EPOCHS),--epochs "$(EPOCHS)") $(if $(EPISODES),--episodes "$(EPISODES)") \
  $(if $(SEED),--seed "$(SEED)") $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(ABLATION),--ablation "$(ABLATION)") \
  $(if $(TRAINER),--trainer "$(TRAINER)") $(if $(TASK),--task "$(TASK)")

# Ctrl+C reaches the command and make. The command ends in its own time and says how; make then ends by the signal, silently.
RUN = trap : INT;
END = || { status=$$?; [ $$status -ne 130 ] || { kill -INT $$PPID; exit 0; }; exit $$status; }

export PYTHON

.PHONY: session learn test lint bench soak setup setup-tests docs docs-check
.DEFAULT_GOAL := session

setup:
	@$(RUN) python3 h1_training_bringup/scripts/bootstrap.py $(END)

setup-tests:
	@$(RUN) python3 h1_training_bringup/scripts/bootstrap.py --tests $(END)

session: setup
ifeq ($(SOURCED),yes)
	@$(RUN) $(IN_WORKSPACE) ros2 launch h1_training_bringup session.launch.py $(LAUNCH_ARGUMENTS) $(END)
else
	@$(RUN) $(IN_WORKSPACE) run_session $(RUNNER_OPTIONS) $(END)
endif

test: setup-tests
	@$(RUN) $(IN_WORKSPACE) h1_training_bringup/scripts/run_tests.sh $(PYTEST_ARGS) $(END)

lint: setup
	@$(RUN) $(IN_WORKSPACE) ruff check . $(END)
	@$(RUN) $(IN_WORKSPACE) ruff format --check . $(END)
	@$(RUN) $(IN_WORKSPACE) mypy $(foreach package,$(filter-out h1_training_msgs,$(PACKAGES)),$(package)/$(package)) \
	  h1_training_msgs/h1_training_node h1_training_bringup/scripts/bootstrap.py $(END)

bench: setup
	@$(RUN) $(IN_WORKSPACE) python h1_training_bringup/bench/run_all.py $(PACKAGES) $(END)

learn: setup
	@$(RUN) $(IN_WORKSPACE) learn $(LEARN_OPTIONS) $(END)

soak: setup
	@$(RUN) $(IN_WORKSPACE) python h1_recorder/bench/soak.py --minutes "$(MINUTES)" $(END)

docs: setup-tests
	@$(RUN) $(IN_WORKSPACE) python h1_training_bringup/docs/generate.py $(END)
	@$(RUN) $(IN_WORKSPACE) python h1_training_bringup/docs/animation.py $(END)
	@$(RUN) $(IN_WORKSPACE) python h1_training_bringup/docs/page_images.py $(END)

docs-check: setup
	@$(RUN) $(IN_WORKSPACE) python h1_training_bringup/docs/check.py $(END)
