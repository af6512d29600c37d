BEGIN TRANSACTION;
CREATE TABLE nas_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT nas_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "nas_alembic_version" VALUES('0.2.2');
CREATE TABLE nas_candidate (
	id VARCHAR(64) NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	notation TEXT NOT NULL, 
	backbone TEXT NOT NULL, 
	n_blocks INTEGER NOT NULL, 
	definition JSON NOT NULL, 
	params BIGINT, 
	macs BIGINT, 
	complexity JSON, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_candidate PRIMARY KEY (id)
);
INSERT INTO "nas_candidate" VALUES('40e152d0cb9a2246','40e152d0cb9a2246','resnet50+cnl@1','resnet50',1,'{"backbone": "resnet50", "backbone_params": {"last_stride": 1, "width": 1}, "placements": [{"site": 1, "block": "cnl", "params": {"fuse": "gate", "norm": "softmax", "qk_norm": false, "width": "full", "zero_init": false}}], "recipe": {}}',NULL,NULL,NULL,1.79600338421200370793e+09);
INSERT INTO "nas_candidate" VALUES('b3e197c692530be7','b3e197c692530be7','resnet50+cnl@1,3','resnet50',2,'{"backbone": "resnet50", "backbone_params": {"last_stride": 1, "width": 1}, "placements": [{"site": 1, "block": "cnl", "params": {"fuse": "gate", "norm": "softmax", "qk_norm": false, "width": "full", "zero_init": false}}, {"site": 3, "block": "cnl", "params": {"fuse": "gate", "norm": "softmax", "qk_norm": false, "width": "full", "zero_init": false}}], "recipe": {}}',NULL,NULL,NULL,1.79600338421200370793e+09);
INSERT INTO "nas_candidate" VALUES('d4f15dcbd53aa68f','d4f15dcbd53aa68f','resnet50+cnl@1,2','resnet50',2,'{"backbone": "resnet50", "backbone_params": {"last_stride": 1, "width": 1}, "placements": [{"site": 1, "block": "cnl", "params": {"fuse": "gate", "norm": "softmax", "qk_norm": false, "width": "full", "zero_init": false}}, {"site": 2, "block": "cnl", "params": {"fuse": "gate", "norm": "softmax", "qk_norm": false, "width": "full", "zero_init": false}}], "recipe": {}}',NULL,NULL,NULL,1.79600338421200370793e+09);
CREATE TABLE nas_control (
	study_id INTEGER NOT NULL, 
	wish VARCHAR(16) NOT NULL, 
	why TEXT NOT NULL, 
	failed BOOLEAN NOT NULL, 
	launch JSON NOT NULL, 
	CONSTRAINT pk_nas_control PRIMARY KEY (study_id), 
	CONSTRAINT ck_nas_control_wish CHECK (wish IN ('run', 'pause', 'stop', 'stop now')), 
	CONSTRAINT fk_nas_control_study_id FOREIGN KEY(study_id) REFERENCES nas_study (id) ON DELETE CASCADE
);
CREATE TABLE nas_dataset (
	id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	spec JSON NOT NULL, 
	counts JSON NOT NULL, 
	known_by VARCHAR(32) DEFAULT 'content' NOT NULL, 
	created_at DOUBLE NOT NULL, warnings JSON, 
	CONSTRAINT pk_nas_dataset PRIMARY KEY (id)
);
INSERT INTO "nas_dataset" VALUES('data','generated','{"generated": {"seed": 0}}','{"train": 10}','content',1.79600338421300935749e+09,'[{"fact": "odd", "consequence": "little"}]');
CREATE TABLE nas_device (
	id TEXT NOT NULL, 
	description JSON NOT NULL, 
	owner TEXT, 
	lease_until DOUBLE, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_device PRIMARY KEY (id)
);
INSERT INTO "nas_device" VALUES('cpu','{}',NULL,NULL,1.7960033843440084458e+09);
CREATE TABLE nas_environment (
	id VARCHAR(64) NOT NULL, 
	facts JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_environment PRIMARY KEY (id)
);
CREATE TABLE nas_epoch (
	training_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	lr DOUBLE, 
	losses JSON NOT NULL, 
	seconds DOUBLE, 
	images INTEGER, 
	CONSTRAINT pk_nas_epoch PRIMARY KEY (training_id, epoch), 
	CONSTRAINT fk_nas_epoch_training_id FOREIGN KEY(training_id) REFERENCES nas_training (id) ON DELETE CASCADE
);
INSERT INTO "nas_epoch" VALUES(1,1,0.1,'{"ce": 2.0}',1.0,64);
INSERT INTO "nas_epoch" VALUES(2,1,0.1,'{"ce": 2.0}',1.0,64);
CREATE TABLE nas_latency (
	id INTEGER NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	notation TEXT NOT NULL, 
	protocol_id VARCHAR(64) NOT NULL, 
	protocol JSON NOT NULL, 
	device TEXT NOT NULL, 
	measured BOOLEAN NOT NULL, 
	median_ms DOUBLE NOT NULL, 
	mean_ms DOUBLE, 
	p5_ms DOUBLE, 
	p95_ms DOUBLE, 
	sd_ms DOUBLE, 
	batches_per_s DOUBLE, 
	batches INTEGER, 
	peak_memory_mb DOUBLE, 
	isolated BOOLEAN, 
	drift DOUBLE, 
	record JSON NOT NULL, 
	environment_id VARCHAR(64), 
	imported TEXT, 
	measured_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_latency PRIMARY KEY (id), 
	CONSTRAINT fk_nas_latency_device FOREIGN KEY(device) REFERENCES nas_device (id), 
	CONSTRAINT fk_nas_latency_environment_id FOREIGN KEY(environment_id) REFERENCES nas_environment (id)
);
INSERT INTO "nas_latency" VALUES(1,'40e152d0cb9a2246','resnet50+cnl@1','p','{}','cpu',1,3.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"median_ms": 3.0}',NULL,NULL,1.79600338435298061373e+09);
CREATE TABLE nas_latency_job (
	id INTEGER NOT NULL, 
	device TEXT NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	notation TEXT NOT NULL, 
	protocol_id VARCHAR(64) NOT NULL, 
	protocol TEXT NOT NULL, 
	network BLOB, 
	sha256 VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	owner TEXT, 
	lease_until DOUBLE, 
	attempts INTEGER NOT NULL, 
	result TEXT, 
	reason TEXT, 
	collected BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	CONSTRAINT pk_nas_latency_job PRIMARY KEY (id), 
	CONSTRAINT ck_nas_latency_job_status CHECK (status IN ('waiting', 'running', 'finished', 'failed')), 
	CONSTRAINT uq_nas_latency_job_device_architecture_id_protocol_id UNIQUE (device, architecture_id, protocol_id)
);
CREATE TABLE nas_note (
	study_id INTEGER NOT NULL, 
	candidate_id VARCHAR(64) NOT NULL, 
	star BOOLEAN NOT NULL, 
	tags JSON NOT NULL, 
	comment TEXT NOT NULL, 
	changed_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_note PRIMARY KEY (study_id, candidate_id), 
	CONSTRAINT fk_nas_note_candidate_id FOREIGN KEY(candidate_id) REFERENCES nas_candidate (id) ON DELETE CASCADE, 
	CONSTRAINT fk_nas_note_study_id FOREIGN KEY(study_id) REFERENCES nas_study (id) ON DELETE CASCADE
);
INSERT INTO "nas_note" VALUES(1,'d4f15dcbd53aa68f',1,'["robot"]','fits',1.79600338433700799944e+09);
CREATE TABLE nas_recipe (
	id VARCHAR(64) NOT NULL, 
	definition JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_recipe PRIMARY KEY (id)
);
INSERT INTO "nas_recipe" VALUES('recipe','{"name": "strong_baseline", "epochs": 60}',1.79600338425899600978e+09);
CREATE TABLE nas_rule (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	stage_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	strength TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	sentence TEXT NOT NULL, 
	finding JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_rule PRIMARY KEY (id), 
	CONSTRAINT fk_nas_rule_stage_id FOREIGN KEY(stage_id) REFERENCES nas_stage (id) ON DELETE CASCADE, 
	CONSTRAINT fk_nas_rule_study_id FOREIGN KEY(study_id) REFERENCES nas_study (id) ON DELETE CASCADE, 
	CONSTRAINT uq_nas_rule_stage_id_position UNIQUE (stage_id, position)
);
CREATE TABLE nas_space (
	id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	size TEXT NOT NULL, 
	parent_id VARCHAR(64), 
	definition JSON NOT NULL, 
	rules JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_space PRIMARY KEY (id), 
	CONSTRAINT fk_nas_space_parent_id FOREIGN KEY(parent_id) REFERENCES nas_space (id) ON DELETE SET NULL
);
CREATE TABLE nas_stage (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	settings JSON NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	space_id VARCHAR(64), 
	result JSON, 
	planner TEXT, 
	planner_until DOUBLE, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	CONSTRAINT pk_nas_stage PRIMARY KEY (id), 
	CONSTRAINT ck_nas_stage_status CHECK (status IN ('waiting', 'running', 'finished', 'failed')), 
	CONSTRAINT fk_nas_stage_space_id FOREIGN KEY(space_id) REFERENCES nas_space (id) ON DELETE SET NULL, 
	CONSTRAINT fk_nas_stage_study_id FOREIGN KEY(study_id) REFERENCES nas_study (id) ON DELETE CASCADE, 
	CONSTRAINT uq_nas_stage_study_id_name UNIQUE (study_id, name), 
	CONSTRAINT uq_nas_stage_study_id_position UNIQUE (study_id, position)
);
INSERT INTO "nas_stage" VALUES(1,1,0,'0-sweep','sweep','{}','waiting',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE nas_stage_training (
	stage_id INTEGER NOT NULL, 
	training_id INTEGER NOT NULL, 
	role VARCHAR(32) NOT NULL, 
	sampler VARCHAR(64) NOT NULL, 
	batch INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	sampler_attrs JSON NOT NULL, 
	is_open BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_stage_training PRIMARY KEY (stage_id, training_id), 
	CONSTRAINT fk_nas_stage_training_stage_id FOREIGN KEY(stage_id) REFERENCES nas_stage (id) ON DELETE CASCADE, 
	CONSTRAINT fk_nas_stage_training_training_id FOREIGN KEY(training_id) REFERENCES nas_training (id)
);
INSERT INTO "nas_stage_training" VALUES(1,1,'candidate','random',0,0,'{}',0,1.79600338426599645614e+09);
INSERT INTO "nas_stage_training" VALUES(1,2,'candidate','random',0,1,'{}',0,1.79600338426599645614e+09);
INSERT INTO "nas_stage_training" VALUES(1,3,'candidate','random',0,2,'{}',1,1.79600338426599645614e+09);
CREATE TABLE nas_study (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	definition JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	space_id VARCHAR(64), 
	protocol_id VARCHAR(64), 
	device TEXT, 
	environment_id VARCHAR(64), 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_study PRIMARY KEY (id), 
	CONSTRAINT fk_nas_study_environment_id FOREIGN KEY(environment_id) REFERENCES nas_environment (id), 
	CONSTRAINT fk_nas_study_space_id FOREIGN KEY(space_id) REFERENCES nas_space (id) ON DELETE SET NULL, 
	CONSTRAINT uq_nas_study_name UNIQUE (name)
);
INSERT INTO "nas_study" VALUES(1,'present','{"name": "present", "seed": 1}',1,NULL,'p','cpu',NULL,1.7960033842179985046e+09);
CREATE TABLE nas_training (
	id INTEGER NOT NULL, 
	candidate_id VARCHAR(64) NOT NULL, 
	code VARCHAR(64) DEFAULT '' NOT NULL, 
	recipe_id VARCHAR(64) NOT NULL, 
	dataset_id VARCHAR(64) NOT NULL, 
	fidelity_label VARCHAR(128) NOT NULL, 
	start VARCHAR(128) DEFAULT 'scratch' NOT NULL, 
	seed BIGINT NOT NULL, 
	fidelity JSON NOT NULL, 
	epochs INTEGER, 
	stop_epoch INTEGER, 
	"view" VARCHAR(16) NOT NULL, 
	split VARCHAR(16) NOT NULL, 
	resume_from_id INTEGER, 
	init_from_id INTEGER, 
	status VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	silences INTEGER DEFAULT '0' NOT NULL, 
	owner TEXT, 
	claim_token VARCHAR(64), 
	lease_seconds DOUBLE, 
	lease_until DOUBLE, 
	heartbeat_at DOUBLE, 
	map DOUBLE, 
	rank1 DOUBLE, 
	minp DOUBLE, 
	metrics JSON, 
	seconds DOUBLE, 
	images_per_s DOUBLE, 
	checkpoint_uri TEXT, 
	checkpoint_sha256 VARCHAR(64), 
	environment_id VARCHAR(64), 
	failure_kind VARCHAR(32), 
	failure_reason TEXT, 
	failure_traceback TEXT, 
	imported TEXT, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	CONSTRAINT pk_nas_training PRIMARY KEY (id), 
	CONSTRAINT ck_nas_training_status CHECK (status IN ('waiting', 'running', 'finished', 'failed')), 
	CONSTRAINT fk_nas_training_candidate_id FOREIGN KEY(candidate_id) REFERENCES nas_candidate (id), 
	CONSTRAINT fk_nas_training_dataset_id FOREIGN KEY(dataset_id) REFERENCES nas_dataset (id), 
	CONSTRAINT fk_nas_training_environment_id FOREIGN KEY(environment_id) REFERENCES nas_environment (id), 
	CONSTRAINT fk_nas_training_init_from_id FOREIGN KEY(init_from_id) REFERENCES nas_training (id) ON DELETE SET NULL, 
	CONSTRAINT fk_nas_training_recipe_id FOREIGN KEY(recipe_id) REFERENCES nas_recipe (id), 
	CONSTRAINT fk_nas_training_resume_from_id FOREIGN KEY(resume_from_id) REFERENCES nas_training (id) ON DELETE SET NULL, 
	CONSTRAINT uq_nas_training_natural_key UNIQUE (candidate_id, code, recipe_id, dataset_id, fidelity_label, start, seed)
);
INSERT INTO "nas_training" VALUES(1,'40e152d0cb9a2246','','recipe','data','e10','scratch',0,'{"epochs": 10}',10,NULL,'select','val',NULL,NULL,'finished',1,0,0,NULL,NULL,NULL,NULL,NULL,0.5,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79600338426000165946e+09,1.7960033842769801617e+09,1.79600338431298875811e+09);
INSERT INTO "nas_training" VALUES(2,'d4f15dcbd53aa68f','','recipe','data','e10','scratch',0,'{"epochs": 10}',10,NULL,'select','val',NULL,NULL,'finished',1,0,0,NULL,NULL,NULL,NULL,NULL,0.6,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79600338426000165946e+09,1.79600338431898355487e+09,1.79600338432200098037e+09);
INSERT INTO "nas_training" VALUES(3,'b3e197c692530be7','','recipe','data','e10','scratch',0,'{"epochs": 10}',10,NULL,'select','val',NULL,NULL,'waiting',0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79600338426000165946e+09,NULL,NULL);
CREATE TABLE nas_worker (
	id VARCHAR(255) NOT NULL, 
	study_id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER, 
	device TEXT, 
	details JSON NOT NULL, 
	started_at DOUBLE NOT NULL, 
	heartbeat_at DOUBLE NOT NULL, 
	stopped_at DOUBLE, 
	CONSTRAINT pk_nas_worker PRIMARY KEY (id), 
	CONSTRAINT fk_nas_worker_study_id FOREIGN KEY(study_id) REFERENCES nas_study (id) ON DELETE CASCADE
);
CREATE INDEX ix_nas_candidate_architecture_id ON nas_candidate (architecture_id);
CREATE INDEX ix_nas_latency_architecture_id_protocol_id_device ON nas_latency (architecture_id, protocol_id, device);
CREATE INDEX ix_nas_training_dataset_id ON nas_training (dataset_id);
CREATE INDEX ix_nas_training_init_from_id ON nas_training (init_from_id);
CREATE INDEX ix_nas_training_resume_from_id ON nas_training (resume_from_id);
CREATE INDEX ix_nas_training_running ON nas_training (lease_until) WHERE status = 'running';
CREATE INDEX ix_nas_worker_study_id ON nas_worker (study_id);
CREATE INDEX ix_nas_rule_study_id ON nas_rule (study_id);
CREATE INDEX ix_nas_stage_training_open ON nas_stage_training (stage_id, batch, position) WHERE is_open = 1;
CREATE INDEX ix_nas_stage_training_training_id ON nas_stage_training (training_id);
COMMIT;
