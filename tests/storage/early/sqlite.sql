BEGIN TRANSACTION;
CREATE TABLE nas_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT nas_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "nas_alembic_version" VALUES('0002');
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
INSERT INTO "nas_candidate" VALUES('c000000000000000','a000000000000000','resnet50+cnl@0','resnet50',1,'{"backbone": "resnet50", "placements": [[0, "cnl", {}]]}',NULL,NULL,NULL,1.79591577308399224285e+09);
INSERT INTO "nas_candidate" VALUES('c000000000000001','a000000000000001','resnet50+cnl@1','resnet50',1,'{"backbone": "resnet50", "placements": [[1, "cnl", {}]]}',10,20,'{"head": 3}',1.79591577308399224285e+09);
INSERT INTO "nas_candidate" VALUES('c000000000000002','a000000000000002','resnet50+cnl@2','resnet50',1,'{"backbone": "resnet50", "placements": [[2, "cnl", {}]]}',NULL,NULL,NULL,1.79591577308399224285e+09);
INSERT INTO "nas_candidate" VALUES('c000000000000003','a000000000000003','resnet50+cnl@3','resnet50',1,'{"backbone": "resnet50", "placements": [[3, "cnl", {}]]}',NULL,NULL,NULL,1.79591577308399224285e+09);
INSERT INTO "nas_candidate" VALUES('c000000000000004','a000000000000004','resnet50+cnl@4','resnet50',1,'{"backbone": "resnet50", "placements": [[4, "cnl", {}]]}',NULL,NULL,NULL,1.79591577308399224285e+09);
CREATE TABLE nas_dataset (
	id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	spec JSON NOT NULL, 
	counts JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_dataset PRIMARY KEY (id)
);
INSERT INTO "nas_dataset" VALUES('data','generated','{"generated": {"seed": 0}, "view": "select"}','{"train": 10}',1.79591577308600401879e+09);
INSERT INTO "nas_dataset" VALUES('folder','market1501','{"market1501": "/data/market", "view": "final"}','{"train": 10}',1.79591577308600401879e+09);
CREATE TABLE nas_device (
	id TEXT NOT NULL, 
	description JSON NOT NULL, 
	created_at DOUBLE NOT NULL, owner TEXT, lease_until DOUBLE, 
	CONSTRAINT pk_nas_device PRIMARY KEY (id)
);
INSERT INTO "nas_device" VALUES('gpu','{}',1.79591577353299403194e+09,NULL,NULL);
CREATE TABLE nas_environment (
	id VARCHAR(64) NOT NULL, 
	facts JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_environment PRIMARY KEY (id)
);
INSERT INTO "nas_environment" VALUES('473b27f365f573fbbd25658d3a71c24e','{"torch": "2.15"}',1.79591577326801872258e+09);
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
INSERT INTO "nas_epoch" VALUES(1,1,0.1,'{"id": 1.0}',NULL,NULL);
INSERT INTO "nas_epoch" VALUES(1,2,0.05,'{"id": 0.5}',NULL,NULL);
INSERT INTO "nas_epoch" VALUES(1,3,3.33333333333333328707e-02,'{"id": 0.3333333333333333}',NULL,NULL);
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
	measured_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_latency PRIMARY KEY (id), 
	CONSTRAINT fk_nas_latency_device FOREIGN KEY(device) REFERENCES nas_device (id), 
	CONSTRAINT fk_nas_latency_environment_id FOREIGN KEY(environment_id) REFERENCES nas_environment (id)
);
INSERT INTO "nas_latency" VALUES(1,'a000000000000001','x','p','{"batch": 16}','gpu',1,9.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"median_ms": 9.5, "protocol": {"batch": 16}}','473b27f365f573fbbd25658d3a71c24e',1.79591577355898475648e+09);
INSERT INTO "nas_latency" VALUES(2,'never-trained','x','p','{}','gpu',1,8.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"median_ms": 8.5}','473b27f365f573fbbd25658d3a71c24e',1.79591577357298588747e+09);
CREATE TABLE nas_latency_job (
	id INTEGER NOT NULL, 
	device TEXT NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	notation TEXT NOT NULL, 
	protocol_id VARCHAR(64) NOT NULL, 
	protocol TEXT NOT NULL, 
	noise TEXT, 
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
CREATE TABLE nas_recipe (
	id VARCHAR(64) NOT NULL, 
	definition JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nas_recipe PRIMARY KEY (id)
);
INSERT INTO "nas_recipe" VALUES('recipe','{"name": "strong_baseline", "epochs": 60}',1.7959157731459915638e+09);
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
INSERT INTO "nas_rule" VALUES(1,1,1,0,'sites','hard','adopted','','','{"rule": {"kind": "sites"}, "verdict": "adopted", "evidence": {"training_ids": [1, 2], "p": 0.01}}',1.79591577351999878882e+09);
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
INSERT INTO "nas_space" VALUES('parent','all','45517159607903340355793714778287898624',NULL,'{"sites": "1-17"}','[]',1.79591577307699179653e+09);
INSERT INTO "nas_space" VALUES('child','fewer','12','parent','{"sites": "4"}','[{"kind": "sites"}]',1.79591577307799768448e+09);
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
INSERT INTO "nas_stage" VALUES(1,1,0,'0-sweep','sweep','{}','finished','parent','{"space_id": "child", "training_ids": [1, 2, 3, 4]}',NULL,NULL,1.79591577350800943378e+09,1.79591577350800943378e+09);
INSERT INTO "nas_stage" VALUES(2,1,1,'1-search','search','{}','waiting',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE nas_stage_training (
	stage_id INTEGER NOT NULL, 
	training_id INTEGER NOT NULL, 
	role VARCHAR(32) NOT NULL, 
	sampler VARCHAR(64) NOT NULL, 
	batch INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	sampler_attrs JSON NOT NULL, 
	is_open BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, mirror VARCHAR(8), 
	CONSTRAINT pk_nas_stage_training PRIMARY KEY (stage_id, training_id), 
	CONSTRAINT fk_nas_stage_training_stage_id FOREIGN KEY(stage_id) REFERENCES nas_stage (id) ON DELETE CASCADE, 
	CONSTRAINT fk_nas_stage_training_training_id FOREIGN KEY(training_id) REFERENCES nas_training (id)
);
INSERT INTO "nas_stage_training" VALUES(1,1,'candidate','random',0,0,'{}',0,1.79591577316799902918e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(1,2,'candidate','random',0,1,'{}',0,1.79591577316799902918e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(1,3,'candidate','random',0,2,'{}',0,1.79591577316799902918e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(1,4,'candidate','random',0,3,'{}',0,1.79591577316799902918e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(2,5,'candidate','random',0,0,'{}',0,1.79591577345401644705e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(2,6,'candidate','random',0,1,'{}',0,1.79591577345401644705e+09,NULL);
INSERT INTO "nas_stage_training" VALUES(2,7,'candidate','random',0,2,'{}',1,1.79591577345401644705e+09,NULL);
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
INSERT INTO "nas_study" VALUES(1,'early','{"name": "early", "seed": 1, "note": "é"}',1,'parent','p','gpu',NULL,1.79591577309598183628e+09);
CREATE TABLE nas_training (
	id INTEGER NOT NULL, 
	candidate_id VARCHAR(64) NOT NULL, 
	recipe_id VARCHAR(64) NOT NULL, 
	dataset_id VARCHAR(64) NOT NULL, 
	fidelity_label VARCHAR(128) NOT NULL, 
	seed BIGINT NOT NULL, 
	fidelity JSON NOT NULL, 
	epochs INTEGER, 
	split VARCHAR(16) NOT NULL, 
	resume_from_id INTEGER, 
	init_from_id INTEGER, 
	status VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
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
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, failures INTEGER DEFAULT '0' NOT NULL, silences INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_nas_training PRIMARY KEY (id), 
	CONSTRAINT ck_nas_training_status CHECK (status IN ('waiting', 'running', 'finished', 'failed')), 
	CONSTRAINT fk_nas_training_candidate_id FOREIGN KEY(candidate_id) REFERENCES nas_candidate (id), 
	CONSTRAINT fk_nas_training_dataset_id FOREIGN KEY(dataset_id) REFERENCES nas_dataset (id), 
	CONSTRAINT fk_nas_training_environment_id FOREIGN KEY(environment_id) REFERENCES nas_environment (id), 
	CONSTRAINT fk_nas_training_init_from_id FOREIGN KEY(init_from_id) REFERENCES nas_training (id) ON DELETE SET NULL, 
	CONSTRAINT fk_nas_training_recipe_id FOREIGN KEY(recipe_id) REFERENCES nas_recipe (id), 
	CONSTRAINT fk_nas_training_resume_from_id FOREIGN KEY(resume_from_id) REFERENCES nas_training (id) ON DELETE SET NULL, 
	CONSTRAINT uq_nas_training_natural_key UNIQUE (candidate_id, recipe_id, dataset_id, fidelity_label, seed)
);
INSERT INTO "nas_training" VALUES(1,'c000000000000000','recipe','data','e10',0,'{"epochs": 10, "view": "select"}',10,'val',NULL,NULL,'finished',1,'w',NULL,60.0,NULL,1.79591577330201578139e+09,7.31234567890123421385e-01,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,'/studies/store/one.pt','3519677e12765660eb32a57da107183d2877ab8dee3809a58944a9a464456484','473b27f365f573fbbd25658d3a71c24e',NULL,NULL,NULL,1.79591577315600967401e+09,1.79591577330201578139e+09,1.79591577335999155046e+09,0,0);
INSERT INTO "nas_training" VALUES(2,'c000000000000001','recipe','data','e10',0,'{"epochs": 10, "view": "select"}',10,'val',NULL,NULL,'finished',1,'w',NULL,60.0,NULL,1.795915773385982275e+09,0.502,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79591577315600967401e+09,1.795915773385982275e+09,1.79591577339398860931e+09,0,0);
INSERT INTO "nas_training" VALUES(3,'c000000000000002','recipe','data','e10',0,'{"epochs": 10, "view": "select"}',10,'val',NULL,NULL,'finished',1,'w',NULL,60.0,NULL,1.79591577340501260756e+09,0.503,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79591577315600967401e+09,1.79591577340501260756e+09,1.79591577341599607474e+09,0,0);
INSERT INTO "nas_training" VALUES(4,'c000000000000003','recipe','data','e10',0,'{"epochs": 10, "view": "select"}',10,'val',NULL,NULL,'finished',1,'w',NULL,60.0,NULL,1.79591577341800785064e+09,0.504,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79591577315600967401e+09,1.79591577341800785064e+09,1.79591577342899131773e+09,0,0);
INSERT INTO "nas_training" VALUES(5,'c000000000000000','recipe','folder','e10-to40',0,'{"epochs": 10, "view": "final", "stop_epoch": 40}',10,'test',1,NULL,'finished',1,'w',NULL,60.0,NULL,1.79591577346500015253e+09,0.6,0.7,0.2,'{"cmc": [0.7, 0.8]}',60.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7959157734530105591e+09,1.79591577346500015253e+09,1.7959157734759836197e+09,0,0);
INSERT INTO "nas_training" VALUES(6,'c000000000000001','recipe','data','e10-inherit',1,'{"epochs": 10, "view": "select"}',10,'val',NULL,1,'failed',1,'w',NULL,60.0,NULL,1.79591577348700761791e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'diverged','loss is NaN','Traceback ...',1.7959157734530105591e+09,1.79591577348700761791e+09,1.79591577348998498921e+09,1,0);
INSERT INTO "nas_training" VALUES(7,'c000000000000002','recipe','data','e10',1,'{"epochs": 10, "view": "select"}',10,'val',NULL,NULL,'waiting',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7959157734530105591e+09,NULL,NULL,0,0);
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
CREATE INDEX ix_nas_training_running ON nas_training (lease_until) WHERE status = 'running';
CREATE INDEX ix_nas_rule_study_id ON nas_rule (study_id);
CREATE INDEX ix_nas_stage_training_open ON nas_stage_training (stage_id, batch, position) WHERE is_open = 1;
CREATE INDEX ix_nas_stage_training_training_id ON nas_stage_training (training_id);
CREATE INDEX ix_nas_worker_study_id ON nas_worker (study_id);
CREATE INDEX ix_nas_training_init_from_id ON nas_training (init_from_id);
CREATE INDEX ix_nas_training_resume_from_id ON nas_training (resume_from_id);
COMMIT;
