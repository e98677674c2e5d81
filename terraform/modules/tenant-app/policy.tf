# What the tenant app calls: credentials of its own region's tenants, and the keys that they lie under.
# Every ARN names this region; a role of one region is refused in every other.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  place         = "${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}"
  secret_arns   = ["arn:${data.aws_partition.this.partition}:secretsmanager:${local.place}:secret:fleet/${var.region}/*"]
  tenants_keys  = "arn:${data.aws_partition.this.partition}:kms:${local.place}:key/*"
  secrets_owner = "secretsmanager.${data.aws_region.this.region}.amazonaws.com"
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "ReadCredentials"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secret_arns
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [data.aws_region.this.region]
    }
  }

  statement {
    sid       = "OpenUnderRegionsKey"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }

  # Keys of single tenants are made later, by the control plane; their tag says whose and where they are.
  statement {
    sid       = "OpenUnderTenantsKeys"
    actions   = ["kms:Decrypt"]
    resources = [local.tenants_keys]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:region"
      values   = [var.region]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:tenant"
      values   = ["false"]
    }
  }
}
